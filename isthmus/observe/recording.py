"""``isthmus record``: ask running processes over their control sockets, and write what they tell into a file.

Decides which processes are asked and in which form it is written (by the file's ending). Not responsible for: what a
process tells (``control``), pictures (``flame``).
"""

import asyncio
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.console import Console

from isthmus.observe.flame import Stack, at_work, collapsed, speedscope, svg
from isthmus.observe.observed import CONTROL

EXIT_FAILED, EXIT_UNAVAILABLE = 1, 69
GRACE_S = 15.0
"""Beyond what was asked for: a process that is overloaded answers late."""
MAIN = "MainThread"
FORMS = ".svg (a picture), .json (for speedscope.app) or .txt (collapsed stacks)"


class NotRecorded(Exception):
    """There is nothing to write; the text says why."""


class _Flame(msgspec.Struct):
    name: str
    samples: int
    every_s: float
    stacks: list[tuple[list[str], int]]


def sockets(folder: Path, names: Sequence[str]) -> list[Path]:
    """Control sockets of ``names``; of all processes if none is named. Raises NotRecorded."""
    found = {path.stem: path for path in sorted(folder.glob("*.sock"))}
    if not found:
        raise NotRecorded(
            f"no process has a control socket in {folder}: start this where the process was started, or name the "
            "folder with --control (option observe.control_path)"
        )
    strangers = [name for name in names if name not in found]
    if strangers:
        raise NotRecorded(f"no process called {', '.join(strangers)} here; there are {', '.join(found)}")
    return [found[name] for name in names] if names else list(found.values())


async def ask(socket: Path, method: str, path: str, within_s: float) -> bytes:
    """What a process answers. Raises NotRecorded."""
    timeout = aiohttp.ClientTimeout(total=within_s + GRACE_S)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=timeout) as session:
            async with session.request(method, f"http://control{path}") as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise NotRecorded(f"{socket.stem}: {body.decode(errors='replace').strip()}")
                return body
    except TimeoutError:
        raise NotRecorded(f"{socket.stem} did not answer: it may hang (`py-spy dump --pid` shows where)") from None
    except aiohttp.ClientError as problem:
        raise NotRecorded(f"{socket}: {problem}; a process that was killed leaves its socket behind") from None


async def record_ticks(folder: Path, names: Sequence[str], seconds: float, out: Path) -> str:
    """The last ``seconds`` of processes, in one trace. Returns what to say. Raises NotRecorded, OSError."""
    events: list[Any] = []
    asked = sockets(folder, names)
    for answer in await asyncio.gather(*(ask(path, "GET", f"/ticks?seconds={seconds:g}", 0.0) for path in asked)):
        events += msgspec.json.decode(answer)
    _write(out, msgspec.json.encode({"displayTimeUnit": "ms", "traceEvents": events}))
    told = ", ".join(path.stem for path in asked)
    return f"{out}: {len(events)} events of {told}; open it at https://ui.perfetto.dev"


async def record_flame(
    folder: Path, name: str | None, seconds: float, rate_hz: float, out: Path, waiting: bool = False
) -> str:
    """A flame graph of one process; with ``waiting`` of threads that have nothing to do as well, and all of their
    frames. Returns what to say. Raises NotRecorded, OSError."""
    if out.suffix not in (".svg", ".json", ".txt"):
        raise NotRecorded(f"{out}: the file's ending says the form: {FORMS}")
    asked = sockets(folder, [name] if name else [])
    if len(asked) > 1:
        raise NotRecorded(f"name one of {', '.join(path.stem for path in asked)}")
    path = f"/flame?seconds={seconds:g}&rate_hz={rate_hz:g}"
    told = msgspec.json.decode(await ask(asked[0], "POST", path, seconds), type=_Flame)
    stacks: Mapping[Stack, int] = {tuple(stack): count for stack, count in told.stacks}
    busy = at_work(stacks)
    main = sum(count for stack, count in busy.items() if stack[0] == MAIN)
    title = f"{told.name}: at work in {100 * main / max(1, told.samples):.0f} % of {told.samples} samples"
    stacks = stacks if waiting else busy
    match out.suffix:
        case ".svg":
            _write(out, svg(title, stacks).encode())
        case ".json":
            _write(out, msgspec.json.encode(speedscope(title, stacks, told.every_s)))
        case _:
            _write(out, collapsed(stacks).encode())
    return f"{out}: {title}"


def _write(out: Path, data: bytes) -> None:
    out.write_bytes(data)


def run(work: Coroutine[Any, Any, str]) -> None:
    """Do it and say what was written; ends the process with a sentence and a status other than 0 if it fails."""
    try:
        sys.stdout.write(asyncio.run(work) + "\n")
    except NotRecorded as error:
        sys.exit(_said(str(error), EXIT_FAILED))
    except OSError as error:
        sys.exit(_said(str(error), EXIT_UNAVAILABLE))


def folder_of(given: Path | None) -> Path:
    """Where control sockets are looked for."""
    return CONTROL if given is None else given


def _said(text: str, status: int) -> int:
    Console(stderr=True).print(f"isthmus: {text}", style="bold red", markup=False)
    return status
