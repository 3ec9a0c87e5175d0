"""Sinks that write rows of a model: Insert, Upsert and Increment."""
