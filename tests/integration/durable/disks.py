"""Small disks of a test's own: full, read-only, mended."""

import errno
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = bytes(1 << 20)
PAGE = bytes(4096)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path | None]:
    """``folder`` as a file system of its own (``size`` as mount has it), or None where none can be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Let the file grow until its disk has no room left."""
    with ballast.open("ab", buffering=0) as file:
        for piece in (MIB, PAGE):
            try:
                while file.write(piece) == len(piece):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def remount(disk: Path, how: str) -> bool:
    """``ro`` or ``rw``; False: a file is open that may be written."""
    line = ["mount", "-o", f"remount,{how}", str(disk)]
    return subprocess.run(line, check=False, capture_output=True).returncode == 0
