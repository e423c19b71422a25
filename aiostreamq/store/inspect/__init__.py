"""Looking into a queue and its server, without changing anything."""
