"""The queue for code that does not run in an event loop."""
