"""Delayed jobs and schedules, which become due."""
