"""Compile the kernels before anybody waits for them, behind a progress bar.

The first start compiles (tens of seconds); later ones load from numba's cache. Must run in the process that serves,
because numba loads compiled code per process; ``isthmus warmup`` fills the cache when an image is built.
"""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Step = tuple[str, Callable[[], object]]


def warm_up(steps: Sequence[Step] | None = None, console: Console | None = None) -> None:
    """Run each step in order and show its name meanwhile; ``None`` takes the kernels' own list.

    Writes to standard error, so that the output of a command stays clean. A step's exception passes through: a kernel
    that does not compile is a bug, and the server must not become ready.
    """
    if steps is None:
        # numba takes a second to import: only who warms up pays
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
