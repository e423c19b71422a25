"""All that talks to Redis. No other package imports redis-py."""
