"""The sink that sends requests: Post."""
