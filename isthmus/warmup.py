"""Compile the kernels before anybody waits for them, behind a progress bar.

The first start compiles (tens of seconds); later ones load from numba's cache. Must run in the process that serves,
because numba loads compiled code per process; ``isthmus warmup`` fills the cache when an image is built. The log tells
how many were compiled: in an image none.
"""

from collections.abc import Callable, Sequence

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from isthmus.startup import StartupError

_log = structlog.get_logger(__name__)
Step = tuple[str, Callable[[], object]]


def warm_up(steps: Sequence[Step] | None = None, console: Console | None = None) -> None:
    """Run each step in order and show its name meanwhile; ``None`` takes the kernels' own list.

    Writes to standard error, so that the output of a command stays clean. A step's exception passes through: a kernel
    that does not compile is a bug, and the server must not become ready. Raises StartupError on a CPU that is less
    than what the kernels were compiled for.
    """
    # numba takes a second to import: only who warms up pays
    from kernels.jit import kernels_now, missing_features

    if missing := missing_features():
        raise StartupError(
            f"This CPU has no {', '.join(missing)}, which NUMBA_CPU_FEATURES says that kernels may use. Build the "
            "image for an older baseline (docs/KUBERNETES.md), or run it on machines that have them."
        )
    if steps is None:
        from isthmus.rehearsal import rehearse_world
        from kernels.warmup import steps as kernel_steps
        from server.transport.warmup import warm_up as warm_sockets
        from shard.warmup import steps as shard_steps

        steps = [*kernel_steps(), *shard_steps(), ("sockets", warm_sockets), ("a small world", rehearse_world)]
    columns = (
        TextColumn("Compiling kernels"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(steps))
        for name, step in steps:
            progress.update(task, description=name)
            step()
            progress.advance(task)
    told = kernels_now()
    _log.info("kernels_ready", loaded=told.loaded, compiled=told.compiled)
