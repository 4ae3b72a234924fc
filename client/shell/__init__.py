"""The asyncio shell of the client: sockets, timers and HTTP. It decides nothing (``client.core`` does)."""
