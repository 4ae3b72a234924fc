"""What a region writes down so that nothing is lost with its process, and how it is read back (docs/DURABLE.md)."""
