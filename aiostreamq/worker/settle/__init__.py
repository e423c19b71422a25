"""Settling: how the ends of jobs reach Redis."""
