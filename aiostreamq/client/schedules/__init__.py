"""The schedules of a queue, as users hold them."""
