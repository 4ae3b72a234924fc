"""A light swarm: tens of thousands of connections of the standard from one thread, over WebSocket or over datagrams."""
