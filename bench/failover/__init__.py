"""Real processes are killed, cut off and restarted under a real crowd; what clients notice (``__main__``)."""
