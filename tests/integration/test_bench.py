"""The benchmark against a real server: its probes decode everything, so this also shows that the stream is true."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmark_runs_and_its_probes_find_nothing_wrong() -> None:
    command = [sys.executable, "-m", "bench", "--smoke", "--only", "isthmus", "isthmus-udp"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "INVALID" not in result.stdout
