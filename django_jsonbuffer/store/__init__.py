"""Every call to Redis."""
