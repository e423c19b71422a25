"""The functions behind tasks: their parameters, and how they are called."""
