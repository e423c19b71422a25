"""Worker processes: one alone, or several under a supervisor."""
