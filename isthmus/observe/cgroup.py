"""What a process's control group grants it: memory (what the OOM killer looks at) and CPU, of cgroup v2 and v1."""

from collections.abc import Iterator
from pathlib import Path

UNLIMITED_BYTES = 1 << 60
"""What version 1 says without a limit is near 2⁶³."""
MEMBERSHIP, ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def limit_bytes(membership: Path = MEMBERSHIP, root: Path = ROOT) -> int | None:
    """The smallest limit of memory of the process's control group and those above it; None: no limit, or no groups."""
    texts = (
        _read(folder / ("memory.max" if version == 2 else "memory.limit_in_bytes"))
        for version, folder in _folders("memory", membership, root)
    )
    found = [int(text) for text in texts if text.isdigit() and int(text) < UNLIMITED_BYTES]
    return min(found, default=None)


def cpu_quota(membership: Path = MEMBERSHIP, root: Path = ROOT) -> float | None:
    """Cores that the group and those above it grant at most; None: no limit, or no groups."""
    found = []
    for version, folder in _folders("cpu", membership, root):
        if version == 2:
            granted, _, period = _read(folder / "cpu.max").partition(" ")
        else:
            granted, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if granted.isdigit() and period.isdigit() and int(period):
            found.append(int(granted) / int(period))
    return min(found, default=None)


def _folders(controller: str, membership: Path, root: Path) -> Iterator[tuple[int, Path]]:
    """Version and folder of each group that the process is in, for one controller."""
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        folder = base / path.strip("/")
        for place in (folder, *folder.parents):
            yield 1 if controllers else 2, place
            if place == base:
                break


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""  # the root group has none, and containers do not see those above
