"""``isthmus bots`` against a real server of the tutorial world, both as processes of their own."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

WORLD = "examples/hello_behaviour/world.toml"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server on a free port."""
    command = [sys.executable, "-m", "isthmus", "serve", WORLD, "--gateway-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://\S+?:\d+", line):
                yield found.group().rstrip("/")
                break
        else:
            pytest.fail("the server ended before it served: " + "".join(said))
        process.terminate()
        process.stdout.read()


def bots(count: int, url: str, seconds: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "isthmus", "bots", str(count), "--url", url, "--seconds", str(seconds)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


def test_all_bots_get_in_and_see_each_other(server: str) -> None:
    done = bots(30, server, 5)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "connected 30/30" in done.stdout
    seen = [int(n) for n in re.findall(r"seen (\d+)", done.stdout)]
    assert max(seen) >= 29
    worst_cm = [float(n) for n in re.findall(r"worst ([\d.]+) cm", done.stdout)]
    assert max(worst_cm) <= 5.0


def test_bots_that_cannot_join_say_so() -> None:
    done = bots(2, "http://127.0.0.1:9", 3)
    assert done.returncode == 1
    assert "2 of 2 bots could not join" in done.stdout
