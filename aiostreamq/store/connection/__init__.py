"""Connections to Redis: how they are found, opened, used and opened again."""
