"""The HTTP side of the gateway: the page, the map, health, metrics, and the checks that every request passes.

Decides who may ask for what over HTTP. Not responsible for: the connection after an upgrade (``server.transport``).
"""
