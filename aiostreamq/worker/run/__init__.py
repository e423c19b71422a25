"""Running jobs: from the slot to the outcome."""
