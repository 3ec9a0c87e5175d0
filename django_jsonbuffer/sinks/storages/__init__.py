"""The sink that stores objects: JsonLines."""
