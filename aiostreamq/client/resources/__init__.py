"""Lifespans and dependencies: the things that runs use besides their arguments."""
