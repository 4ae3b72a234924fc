"""Compiles the swarm's C program at its first use, below the user's cache folder (XDG Base Directory Specification).

Invariant: what runs was built from the sources beside this file and from ``protocol/c``; changed ones are built again,
under another name, so that two checkouts do not disturb each other.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent / "c"
DECODER = Path(__file__).parents[2] / "protocol" / "c"
DECODER_SOURCES = ("isthmus.c",)
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wno-sign-compare", "-Werror")
LIBRARIES = ("-lcrypto", "-lm")
PACKAGES = "gcc libc6-dev libssl-dev"


class BuildError(Exception):
    """The program cannot be built; the text says what to do."""


def program() -> Path:
    """The program, built if it is not. Raises BuildError."""
    sources = [*sorted(SOURCES.glob("*.c")), *(DECODER / name for name in DECODER_SOURCES)]
    digest = hashlib.sha256()
    for path in [*sources, *sorted(SOURCES.glob("*.h")), *sorted(DECODER.glob("*.h"))]:
        digest.update(path.name.encode() + path.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = home / "isthmus" / "swarm" / digest.hexdigest()[:16]
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        compile_c(built, sources, [*FLAGS, f"-I{DECODER}"], LIBRARIES)
    return built


def compile_c(built: Path, sources: list[Path], flags: list[str], libraries: tuple[str, ...] = ()) -> None:
    """Compile ``sources`` to the program ``built``. Raises BuildError."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BuildError(f"no C compiler: install one (Debian: apt-get install {PACKAGES})")
    # Put in place when it is whole: another process may be building the same.
    partial = built.with_name(f"{built.name}.{os.getpid()}")
    command = [compiler, *flags, "-o", str(partial), *map(str, sources), *libraries]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        hint = f"\nDoes it lack headers? Debian: apt-get install {PACKAGES}" if ".h: No such" in result.stderr else ""
        raise BuildError(f"{sources[0].parent} does not compile:\n{result.stderr}{hint}")
    partial.replace(built)
