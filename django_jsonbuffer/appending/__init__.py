"""Encoded events on their way to Redis."""
