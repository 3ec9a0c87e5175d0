"""The guides in docs/guides, each pasted as it stands into a new project."""
