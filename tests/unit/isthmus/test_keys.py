"""Keys on the disk: made once, whole, for their owner alone; and which key a world's sessions are sealed with."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.config import Config
from isthmus.config.model import Cluster, Durable
from isthmus.fleet.setup import SetupError, make_key, read_key
from isthmus.kept import key_of_sessions


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "one.key"
    make_key(path)
    key = read_key(path, "a key")
    make_key(path)
    assert read_key(path, "a key") == key
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["one.key"]


def test_a_key_that_is_unfit_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "one.key"
    with pytest.raises(SetupError, match=r"a key: .*No such file"):
        read_key(path, "a key")
    make_key(path)
    path.chmod(0o640)
    with pytest.raises(SetupError, match="chmod 600"):
        read_key(path, "a key")
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(SetupError, match=r"5 bytes.*make a new one"):
        read_key(path, "a key")


@pytest.mark.parametrize(
    ("mode", "owner", "process", "fits"),
    [
        (0o440, 0, 10_001, True),  # as Kubernetes mounts a secret for a group
        (0o440, 0, 0, False),
        (0o440, 10_001, 10_001, False),
        (0o460, 0, 10_001, False),
        (0o444, 0, 10_001, False),
        (0o400, 10_001, 10_001, True),
    ],
)
def test_the_group_may_read_a_key_of_root_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, process: int, fits: bool
) -> None:
    path = tmp_path / "one.key"
    make_key(path)
    found = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, 10_001, 32, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda self: found)
    monkeypatch.setattr(os, "geteuid", lambda: process)
    if fits:
        assert len(read_key(path, "a key")) == 32
    else:
        with pytest.raises(SetupError, match="chmod 600"):
            read_key(path, "a key")


def test_a_world_keeps_its_sessions_key_beside_its_store(tmp_path: Path) -> None:
    config = Config(durable=Durable(url=f"sqlite:{tmp_path / 'kept' / 'world.sqlite'}"))
    key = key_of_sessions(config)
    assert key == key_of_sessions(config) == (tmp_path / "kept" / "world.sqlite.key").read_bytes()
    given = replace(config, folder=str(tmp_path), cluster=Cluster(key_path="kept/world.sqlite.key"))
    assert key_of_sessions(given) == key
    assert key_of_sessions(replace(config, durable=Durable(url="memory:"))) is None
