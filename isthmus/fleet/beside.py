"""What ``isthmus cluster`` keeps beside where it was started, in ``.isthmus/cluster``: logs, process ids, its etcd's
address.

Decides where. Invariant: the address is there only while its etcd is run by a cluster that ends in order; after a kill
it is stale until the next one starts. Not responsible for: what is in the logs.
"""

import contextlib
from pathlib import Path

FOLDER = Path(".isthmus/cluster")
_ETCD = "etcd.url"


def write_endpoint(folder: Path, endpoint: str) -> None:
    """Where the etcd of this cluster answers. Raises OSError."""
    (folder / _ETCD).write_text(f"{endpoint}\n", encoding="utf-8")


def forget_endpoint(folder: Path) -> None:
    """It does not any more."""
    (folder / _ETCD).unlink(missing_ok=True)


def endpoints_here() -> tuple[str, ...]:
    """The etcd of the cluster that was started where this process is; nothing if there is none."""
    with contextlib.suppress(OSError):
        return tuple((FOLDER / _ETCD).read_text(encoding="utf-8").split())
    return ()
