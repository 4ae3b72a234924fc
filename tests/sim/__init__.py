"""The seeded simulator: the real cores of shard, gateway and clients in one process, on virtual time and a bad
network."""
