"""Fetching deliveries: no more than will soon run."""
