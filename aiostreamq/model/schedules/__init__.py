"""Schedules: when each is due, what it enqueues, and what is done about missed ticks."""
