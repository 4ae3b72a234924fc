"""Component changes as msgpack maps: found by comparing columns, encoded once for each changed entity.

Invariant: the ``s.`` columns hold what was last published; only components that somebody may have touched are compared.
Not responsible for: who gets a blob.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.messages import pack
from shard.world.components import Component
from shard.world.table import Table

I64 = npt.NDArray[np.int64]


def _wire(component: Component, value: Any) -> Any:
    """A column's value as it travels."""
    if component.scale is not None:
        return round(float(value) / component.scale)
    return value


def _replicated(table: Table, kind: int) -> list[Component]:
    return [component for component in table.registry.kind(kind).components if component.replicate]


def full_blobs(table: Table, rows: I64) -> list[bytes]:
    """All replicated components of each row, in the order of ``rows``."""
    key = table.registry.key
    out: list[bytes] = []
    for row, kind in zip(rows.tolist(), table.kind[rows].tolist(), strict=True):
        components = _replicated(table, kind)
        out.append(pack({key[c.name]: _wire(c, table.columns[f"c.{c.name}"][row].item()) for c in components}))
    return out


def remember(table: Table, rows: I64) -> None:
    """These rows were published as they are now."""
    for component in table.registry.components.values():
        if component.replicate:
            table.columns[f"s.{component.name}"][rows] = table.columns[f"c.{component.name}"][rows]


def changed(table: Table, rows: I64, touched: Iterable[str]) -> tuple[I64, list[bytes], list[bytes]]:
    """Which of ``rows`` differ in ``touched`` components from what was published; their changed and their full blobs.

    Marks them as published. A change smaller than a component's scale is none.
    """
    registry = table.registry
    differing: dict[str, I64] = {}
    for name in sorted(touched):
        component = registry.components[name]
        if not component.replicate:
            continue
        now, then = table.columns[f"c.{name}"], table.columns[f"s.{name}"]
        if component.scale is not None:
            mask = np.rint(now[rows] / component.scale) != np.rint(then[rows] / component.scale)
        else:
            mask = now[rows] != then[rows]
        found = rows[mask]
        if len(found):
            differing[name] = found
            then[found] = now[found]
    if not differing:
        return np.zeros(0, np.int64), [], []
    parts: dict[int, dict[int, Any]] = {}
    for name, found in differing.items():
        component, key = registry.components[name], registry.key[name]
        has = {
            number
            for number, kind in enumerate(registry.kinds, 1)
            if any(each.name == name for each in kind.components)
        }
        values = table.columns[f"c.{name}"][found].tolist()
        for row, kind_number, value in zip(found.tolist(), table.kind[found].tolist(), values, strict=True):
            if kind_number in has:
                parts.setdefault(row, {})[key] = _wire(component, value)
    changed_rows = np.array(sorted(parts), np.int64)
    return changed_rows, [pack(parts[row]) for row in changed_rows.tolist()], full_blobs(table, changed_rows)
