"""What people see through a bad network, over WebSocket and over datagrams. ``python -m bench.lossy``."""
