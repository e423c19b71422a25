"""What is said to all workers, and cancelled jobs."""
