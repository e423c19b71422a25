"""What users' code does that nobody would, run among jobs that are well behaved."""
