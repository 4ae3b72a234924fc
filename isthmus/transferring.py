"""``isthmus backup`` and ``isthmus restore``: the world's durable store into a file, and back into an empty store.

Decides nothing; a mistake ends the process with a sentence and a status other than 0. Not responsible for: the file
(``shard.durable.transfer``).
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from rich.console import Console

from isthmus.config import Config
from isthmus.durable import identity_of, leaves_of, make_folder, url_of
from isthmus.fleet.setup import SetupError, layout_of
from isthmus.worlds import WorldError, the_place
from shard.durable.contract import Away, DurableError, WorldIdentity
from shard.durable.transfer import Transferred, backup, restore

EXIT_FAILED = 1
EXIT_UNAVAILABLE = 69


def back_up(config: Config, file: Path) -> None:
    """Write one moment of the world into ``file``, while it is served."""
    done = _run(lambda: backup(url_of(config), _identity(config), file))
    _tell(done, f"written to {file}")
    for damage in done.damage:
        Console(stderr=True).print(f"isthmus: left out: {damage.what}: {damage.why}", style="bold red", markup=False)


def bring_back(config: Config, file: Path) -> None:
    """Write ``file`` into the world's store, which must be empty."""

    async def all_of_it() -> Transferred:
        make_folder(url_of(config))
        return await restore(file, url_of(config), _identity(config))

    _tell(_run(all_of_it), f"restored from {file}")


def _identity(config: Config) -> WorldIdentity:
    return identity_of(config, leaves_of(layout_of(config, the_place(config), level=0)))


def _run(do: Callable[[], Coroutine[Any, Any, Transferred]]) -> Transferred:
    try:
        return asyncio.run(do())
    except Away as away:
        sys.exit(_said(str(away), EXIT_UNAVAILABLE))
    except (DurableError, SetupError, WorldError, OSError) as error:
        sys.exit(_said(str(error), EXIT_FAILED))


def _tell(done: Transferred, what: str) -> None:
    counts = ", ".join(f"{count:,} {name}" for name, count in done.counts.items() if count)
    Console().print(
        f"{what}: {counts or 'nothing: the world has not begun'}", markup=False, highlight=False, soft_wrap=True
    )


def _said(text: str, status: int) -> int:
    Console(stderr=True).print(f"isthmus: {text}", style="bold red", markup=False)
    return status
