"""The hash by which client and server know that they mean the same components (STANDARD.md §3)."""

import hashlib
from typing import Any

from protocol.messages import pack


def schema_hash(schema: dict[str, Any]) -> bytes:
    """The first 8 bytes of SHA-256 over the msgpack encoding of ``schema``, keys in the standard's order."""
    ordered = {"kinds": schema["kinds"], "components": schema["components"]}
    return hashlib.sha256(pack(ordered)).digest()[:8]
