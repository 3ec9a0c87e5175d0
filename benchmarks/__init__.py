"""What the buffer costs beside its floors and beside what one would use instead: `make bench`."""
