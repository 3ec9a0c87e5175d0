"""A project with one bucket, whose processor fails as the test says."""
