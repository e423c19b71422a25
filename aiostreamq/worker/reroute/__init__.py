"""Deliveries that are not run here: moved, set aside, or left to others."""
