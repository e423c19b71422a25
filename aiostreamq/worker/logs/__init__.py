"""Logging of the programs of this package."""
