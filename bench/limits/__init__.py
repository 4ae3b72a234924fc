"""docs/limits.md by one command: what breaks first, and how we know."""
