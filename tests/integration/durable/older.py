"""A store that a server of today has written, as one of version 1 would have written it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from shard.durable import schema
from shard.durable.sqlite import TYPES


def make_version_1(path: Path) -> None:
    """Take back each step of ``schema``: no notes, and the journal's rows say where their session is."""
    with closing(sqlite3.connect(path)) as connection, connection:
        places = {
            number: (region, heard_s)
            for number, region, heard_s in connection.execute("SELECT session, region, heard_s FROM session")
        }
        actions = connection.execute("SELECT session, number, tick, answer FROM action").fetchall()
        for table in ("note", "session", "action"):
            connection.execute(f"DROP TABLE {table}")
        for statement in schema.first_statements(TYPES):
            if " action " in statement:
                connection.execute(statement)
        rows = [
            schema._ACTION_1.sealed(session, number, places[session][0], tick, places[session][1], answer)
            for session, number, tick, answer in actions
        ]
        connection.executemany("INSERT INTO action VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("UPDATE schema_version SET version = 1")


def version(path: Path) -> int:
    """The schema version that a store says it has."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT version FROM schema_version").fetchone()[0])
