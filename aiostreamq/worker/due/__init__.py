"""What is due: delayed jobs and schedules."""
