"""Who is alive, and what becomes of the jobs of those who are not."""
