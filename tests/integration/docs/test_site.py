"""The build is strict: what leads nowhere, and a page that nobody finds, fail it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
MISTAKES = """
A [page](NOWHERE.md), an [anchor](CLUSTER.md#nowhere), a [source](../client/nowhere.py), and one
[of the standard](../protocol/STANDARD.md#99-nowhere).
"""


def test_mistakes_fail_the_build(tmp_path: Path) -> None:
    for entry in REPOSITORY.iterdir():
        if entry.name not in (".git", ".venv", "build", "docs"):
            (tmp_path / entry.name).symlink_to(entry)
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    with (tmp_path / "docs" / "index.md").open("a") as index:
        index.write(MISTAKES)
    (tmp_path / "docs" / "ALONE.md").write_text("# Alone\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(REPOSITORY)}
    built = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 1, built.stderr
    for told in ("'NOWHERE.md'", "#nowhere'", "'../client/nowhere.py'", "#99-nowhere'", "ALONE.md"):
        assert told in built.stderr, f"{told}: {built.stderr}"
