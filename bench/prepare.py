"""Builds and installs what a benchmark run needs, below ``bench/.cache`` (which git ignores).

Invariant: nothing is done twice; a changed source or package list is built or installed again.
Not responsible for: Python packages (the project's virtual environment has them).
"""

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from loadtest.swarm.build import BuildError, compile_c
from loadtest.swarm.build import program as swarm_program

BENCH = Path(__file__).parent
CACHE = BENCH / ".cache"


class PreparationError(Exception):
    """Something the benchmark needs is missing; the text says what to do."""


@dataclass(frozen=True)
class Tools:
    """Programs that runs are made of. The Node paths are None when no peer was asked for."""

    swarm: Path
    physical: Path
    node20: Path | None
    node24: Path | None
    peers: Path


def prepare(with_peers: bool) -> Tools:
    """Build the C programs and, if wanted, install the peers. Raises PreparationError."""
    CACHE.mkdir(exist_ok=True)
    peers = CACHE / "peers"
    node20 = node24 = None
    if with_peers:
        _install_peers(peers)
        node20, node24 = (peers / "node_modules" / name / "bin" / "node" for name in ("node20", "node24"))
    try:
        return Tools(swarm_program(), _physical(), node20, node24, peers)
    except BuildError as error:
        raise PreparationError(str(error)) from None


def _fingerprint(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _fresh(mark: Path, fingerprint: str) -> bool:
    return mark.exists() and mark.read_text() == fingerprint


def _physical() -> Path:
    """The program of the system calls alone, built unless it is."""
    source = BENCH / "physical.c"
    program = CACHE / f"physical-{_fingerprint(source)[:16]}"
    if not program.exists():
        compile_c(program, [source], ["-O2"])
    return program


def _install_peers(folder: Path) -> None:
    """Copy the peers' programs beside their node_modules, and install these when the package list has changed."""
    folder.mkdir(exist_ok=True)
    for source in (BENCH / "peers").iterdir():
        shutil.copy2(source, folder / source.name)
    mark, fingerprint = folder / "installed", _fingerprint(folder / "package.json")
    if _fresh(mark, fingerprint):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise PreparationError("no npm: install it, or run the benchmark without peers (--peers none)")
    # Nothing needs to be compiled: what has native parts comes with them, or works without.
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    if result.returncode:
        raise PreparationError(f"npm could not install the peers:\n{result.stderr[-2000:]}")
    mark.write_text(fingerprint)
