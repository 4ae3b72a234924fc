"""One process does without etcd, and then without its client's libraries too."""

import subprocess
import sys


def test_only_the_etcd_store_loads_aiohttp() -> None:
    code = "import cluster.store.memory, sys; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
