"""Open queues: their connections, and the event loop that they belong to."""
