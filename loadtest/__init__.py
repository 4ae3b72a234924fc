"""Load for a running server: locust users with the real protocol, and a light swarm."""
