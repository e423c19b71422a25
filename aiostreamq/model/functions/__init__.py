"""The functions that tasks are made of: what they take, and how they are called."""
