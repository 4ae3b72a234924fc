"""The contract on real SQLite files and a real PostgreSQL."""

from tests.unit.shard.durable.contract_cases import DurableContract


class TestEngines(DurableContract):
    """The fixture ``place`` gives each engine in turn."""
