"""Messages to all workers, and cancelled jobs."""
