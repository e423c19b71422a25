"""Dead letters, for users."""
