"""Measure the cost of the app, beside bare commands and other projects: `make bench`."""
