"""Telling Redis how jobs ended."""
