"""The schema of components as the server told it: keys to names, whole numbers to values.

Invariant: a schema is learnt whole or not at all. Not responsible for: which entity has what (``protocol.frames``).
"""

from typing import Any

from protocol.codes import ProtocolViolation


class KnownSchema:
    """``hash`` is what HELLO offers, so that a server need not send a known schema again."""

    def __init__(self) -> None:
        self.hash: bytes | None = None
        self._rows: dict[int, tuple[str, float | None]] = {}

    def learn(self, schema: Any, schema_hash: bytes) -> None:
        """Take a WELCOME's or SCHEMA's; None stands for the one that is known. Raises ProtocolViolation."""
        if schema is None:
            return
        rows = schema.get("components") if isinstance(schema, dict) else None
        if not isinstance(rows, list) or not all(map(_is_component, rows)):
            raise ProtocolViolation("wrong_type", "schema: components must be [key, name, dtype, unit, scale]")
        self.hash = schema_hash
        self._rows = {row[0]: (str(row[1]), row[4]) for row in rows}

    def plain(self, held: dict[int, Any]) -> dict[str, Any]:
        """Values by name, scaled; a key that the schema lacks keeps its number as name."""
        out = {}
        for key, value in held.items():
            name, scale = self._rows.get(key, (str(key), None))
            out[name] = value * scale if scale is not None and isinstance(value, int) else value
        return out


def _is_component(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) >= 5
        and isinstance(row[0], int)
        and isinstance(row[1], str)
        and (row[4] is None or isinstance(row[4], float))
    )
