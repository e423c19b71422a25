"""The commands that ask a queue something."""
