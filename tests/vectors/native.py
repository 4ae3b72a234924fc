"""The decoder in C (protocol/c) as a process: compiled with the system's compiler and its sanitizers, asked by lines.

A sanitizer that finds something ends the process, so that the next question fails with what it said; what was not freed
is told at the end. Not responsible for: what a question means (``c/driver.c``).
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

SOURCES = Path(__file__).parents[2] / "protocol" / "c"
DRIVER = Path(__file__).parent / "c" / "driver.c"
FLAGS = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

OK, DROPPED, WAITS, MALFORMED, BROKEN, FULL = 0, 1, 2, -1, -2, -3
"""What functions answer: protocol/c/isthmus.h."""


def compile_c(sources: list[Path], out: Path, *flags: str) -> None:
    """Compile ``sources`` with all warnings as errors; raises AssertionError with what the compiler said."""
    compiler = shutil.which("cc")
    assert compiler, "no C compiler: install gcc and libc6-dev, or run `make compiler` as root"
    command = [compiler, *FLAGS, f"-I{SOURCES}", *flags, "-o", str(out), *map(str, sources), "-lm"]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def compile_driver(folder: Path) -> Path:
    """The driver, with the sanitizers in it."""
    program = folder / "driver"
    compile_c([*sorted(SOURCES.glob("*.c")), DRIVER], program, "-Wno-conversion", *SANITIZERS)
    return program


def said(data: bytes | None) -> str:
    """Bytes as the driver reads them; None is nil."""
    return "-" if data is None else "." + data.hex()


class Native:
    """One driver. Use it as a context."""

    def __init__(self, program: Path) -> None:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        code = self._process.wait(60)
        errors = self._said()
        self._errors.close()
        assert code == 0, errors

    def ask(self, *words: object) -> dict[str, Any]:
        """One question and its answer; raises AssertionError if the driver ended over it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = " ".join(map(str, words))
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer.endswith("\n"), f"ended over {line[:4000]!r}:\n{self._said()}"
        out: dict[str, Any] = json.loads(answer)
        return out

    def _said(self) -> str:
        self._process.wait(60)
        self._errors.seek(0)
        return self._errors.read()

    def take(self, data: bytes) -> dict[str, Any]:
        """Give the view a message."""
        return self.ask("take", said(data))

    def shown(self, tick: float) -> dict[str, list[float]]:
        """Position in metres and yaw of each entity, by id."""
        shown: dict[str, Any] = self.ask("shown", repr(tick))["shown"]
        return {entity: place for entity, place in shown.items() if place}
