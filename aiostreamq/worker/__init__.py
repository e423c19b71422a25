"""The side that runs jobs."""
