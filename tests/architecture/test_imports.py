"""Who may import whom: the contracts of pyproject.toml, and what importing the client costs."""

import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).parents[2]


def test_import_contracts_are_kept() -> None:
    command = [sys.executable, "-m", "importlinter.cli", "lint-imports", "--no-cache"]
    result = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_importing_the_client_stays_light() -> None:
    code = (
        "import sys, pkgutil, importlib, client\n"
        "for module in pkgutil.walk_packages(client.__path__, 'client.'): importlib.import_module(module.name)\n"
        "print(sorted({'numba', 'aiohttp', 'pymunk', 'shard', 'server', 'kernels'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_who_traces_nothing_loads_no_opentelemetry() -> None:
    found = "sorted({'opentelemetry', 'google.protobuf', 'requests'} & set(sys.modules))"
    code = f"import sys, isthmus.gateway, isthmus.member, isthmus.serve; print({found})"
    result = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_who_serves_no_webtransport_loads_none_of_it() -> None:
    code = "import sys, isthmus.front; print(sorted({'aioquic', 'pylsqpack', 'OpenSSL'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
