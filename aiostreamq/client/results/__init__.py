"""Awaited outcomes of jobs."""
