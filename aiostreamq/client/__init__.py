"""The side that sends jobs and waits for them."""
