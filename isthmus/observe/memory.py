"""How much memory a process may have, as its control group says (cgroup v2, v1); what the OOM killer looks at."""

from pathlib import Path

_V2 = "memory.max"
_V1 = "memory.limit_in_bytes"
UNLIMITED_BYTES = 1 << 60
"""What version 1 says without a limit is near 2⁶³."""


def limit_bytes(membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The smallest limit of the process's control group and those above it; None: no limit, or no control groups."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (root, _V2) if not controllers else (root / "memory", _V1)
        folder = base / path.strip("/")
        for place in (folder, *folder.parents):
            limits.append(_read(place / name))
            if place == base:
                break
    found = [limit for limit in limits if limit is not None and limit < UNLIMITED_BYTES]
    return min(found, default=None)


def _read(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None  # the root group has none, and containers do not see those above
    return int(text) if text.isdigit() else None
