"""Leases of workers, and the recovery of jobs of dead ones."""
