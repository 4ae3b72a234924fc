"""The command line: configuration arrives, mistakes are told, and nothing heavy loads before it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from isthmus.cli import EXIT_CONFIG, cli
from isthmus.config import OPTIONS
from isthmus.startup import StartupError, check_interpreter, check_names

HOME = Path(__file__).parents[3]
DEMO = HOME / "examples" / "helsinki" / "world.toml"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    path = tmp_path / "world.toml"
    path.write_text("[gateway]\nport = 0\n")
    return path


def test_config_shows_values_and_sources(world: Path) -> None:
    result = CliRunner().invoke(cli, ["config", str(world), "--world-rate-hz", "30"])
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split()[1:] for line in result.output.splitlines()}
    assert rows["world.rate_hz"] == ["30", "--world-rate-hz"]
    assert rows["gateway.port"] == ["0", f"{world}:2"]
    assert rows["view.radius_m"] == ["100.0", "default"]
    assert set(OPTIONS) < set(rows)


def test_config_explains_every_option() -> None:
    result = CliRunner().invoke(cli, ["config", "--explain"])
    assert result.exit_code == 0
    assert all(key in result.output for key in OPTIONS)


def test_mistakes_are_told_and_nothing_starts(world: Path) -> None:
    result = CliRunner().invoke(cli, ["serve", str(world), "--gateway-host", "0.0.0.0", "--world-rate-hz", "5"])
    assert result.exit_code == EXIT_CONFIG
    assert "2 mistakes in the configuration; nothing was started." in result.output
    assert "--gateway-host gateway.host" in result.output


def test_a_world_that_is_not_utf8(world: Path) -> None:
    world.write_bytes(b"[world]\nname = '\xff'\n")
    result = CliRunner().invoke(cli, ["config", str(world)])
    assert result.exit_code == EXIT_CONFIG
    assert "not UTF-8" in result.output


def test_the_demo_world_is_configured_without_mistakes() -> None:
    result = CliRunner().invoke(cli, ["config", str(DEMO)])
    assert result.exit_code == 0, result.output
    assert "helsinki" in result.output


def test_config_alone_wants_a_world() -> None:
    result = CliRunner().invoke(cli, ["config"])
    assert result.exit_code == 2
    assert "--explain" in result.output


def test_it_refuses_to_run_without_assertions() -> None:
    with pytest.raises(StartupError, match="without -O"):
        check_interpreter(optimised=True)
    check_interpreter(optimised=False)


def test_our_names_resolve_to_us() -> None:
    check_names()


def test_a_stranger_under_one_of_our_names_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"server: .*server/__init__.py, expected in"):
        check_names(str(tmp_path))


def test_starting_loads_neither_the_simulation_nor_the_server() -> None:
    heavy = ("numba", "numpy", "aiohttp", "pymunk", "shard", "server")
    code = f"import sys, isthmus.cli; print([name for name in {heavy} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
