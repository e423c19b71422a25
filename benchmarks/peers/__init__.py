"""One adapter script per peer, each run inside the peer's own environment."""
