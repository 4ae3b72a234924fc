"""Connections: accepted by aiohttp, then read and written in batches by compiled calls.

Decides which bytes are allowed in, how much may wait for a slow client, and when a socket is closed. Not responsible
for: what messages mean (``server.session``), which frames are sent (``server.core``).
"""
