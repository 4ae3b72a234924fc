"""A soak: a real cluster in trouble all the time, and whether anything in it grows."""
