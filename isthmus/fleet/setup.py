"""From options to what a member needs: its name, the store, the keys of its links, the world's record and regions.

Invariant: whatever is missing or unfit raises SetupError with the option's name and what to do. Not responsible for:
running anything.
"""

import contextlib
import os
import platform
import ssl
import stat
import tempfile
import time
from pathlib import Path

import numpy as np

from cluster.links.handshake import KEY_BYTES_MIN
from cluster.links.links import LinksConfig
from cluster.records import WorldRecord
from cluster.regions import LEVEL_MAX, Layout
from cluster.store.etcd import EtcdStore
from cluster.store.etcd_config import EtcdConfig
from isthmus.config import Config
from protocol.layouts import GRID_PER_M
from protocol.place import Place

REGION_LEAST_M = 64.0
"""As small as regions get by themselves: a view of 50 m touches nine of them, and each costs its gateway a message a
tick."""


class SetupError(Exception):
    """A member cannot be set up; the text says what to do."""


def member_name(config: Config, kind: str) -> str:
    """The name of this process in the cluster."""
    return config.cluster.member or f"{platform.node() or 'local'}-{kind}"


def etcd_config(config: Config) -> EtcdConfig:
    """How etcd is reached. Raises SetupError."""
    own, folder = config.cluster, Path(config.folder)

    def path(name: str | None) -> Path | None:
        return None if name is None else folder / name

    if not own.etcd_endpoints:
        raise SetupError(
            "cluster.etcd_endpoints: name the etcd of the cluster, as http://127.0.0.1:2379; `isthmus cluster` brings "
            "its own, which `isthmus region` and `drain` find in the folder where it was started"
        )
    try:
        password = None
        if own.etcd_password_path is not None:
            password = (folder / own.etcd_password_path).read_text(encoding="utf-8").strip()
        return EtcdConfig(
            endpoints=own.etcd_endpoints,
            namespace=own.namespace or f"/isthmus/{config.world.name}/",
            user=own.etcd_user,
            password=password,
            ca=path(own.etcd_ca_path),
            cert=path(own.etcd_cert_path),
            key=path(own.etcd_key_path),
        )
    except (OSError, ValueError) as error:
        raise SetupError(str(error)) from error


def open_store(config: Config, jitter: np.random.Generator) -> EtcdStore:
    """A client of etcd, inside a running event loop. Raises SetupError."""
    etcd = etcd_config(config)
    try:
        return EtcdStore(etcd, clock=time.monotonic, jitter=jitter.random)
    except (OSError, ValueError) as error:
        raise SetupError(str(error)) from error


def make_key(path: Path) -> None:
    """A new key, readable by its owner alone and whole on the disk before it has its name; nothing happens if there is
    one. Raises OSError."""
    if path.exists():
        return
    file, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # of mode 0600
    try:
        with os.fdopen(file, "wb") as key:
            key.write(os.urandom(KEY_BYTES_MIN))
            key.flush()
            os.fsync(key.fileno())
        with contextlib.suppress(FileExistsError):  # somebody else was quicker: his is the key
            os.link(draft, path)
    finally:
        os.unlink(draft)


def cluster_key(config: Config) -> bytes | None:
    """What all members of the cluster share, and nobody else has; None if only certificates are given. Raises
    SetupError."""
    if config.cluster.key_path is None:
        return None
    return read_key(Path(config.folder) / config.cluster.key_path, "cluster.key_path")


def read_key(path: Path, what: str) -> bytes:
    """A key that others cannot read; ``what``: how it is called to people. Raises SetupError.

    The group may read, but not write, a key that root owns (PostgreSQL's rule for keys): so Kubernetes gives a secret
    to a process that is not root.
    """
    try:
        found = path.stat()
        others = stat.S_IRWXG | stat.S_IRWXO
        if found.st_uid == 0 and os.geteuid() != 0:
            others &= ~stat.S_IRGRP
        if found.st_mode & others:
            raise SetupError(f"{what}: others may read {path}: `chmod 600 {path}`")
        key = path.read_bytes()
    except OSError as error:
        raise SetupError(f"{what}: {error}") from error
    if len(key) < KEY_BYTES_MIN:
        raise SetupError(f"{what}: {path} has {len(key)} bytes, a key has at least {KEY_BYTES_MIN}: make a new one")
    return key


def links_config(config: Config) -> LinksConfig:
    """How links listen and prove themselves. Raises SetupError."""
    own, folder = config.cluster, Path(config.folder)
    try:
        if own.link_ca_path and own.link_cert_path and own.link_key_path:
            contexts = []
            for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH):
                context = ssl.create_default_context(purpose, cafile=folder / own.link_ca_path)
                context.load_cert_chain(folder / own.link_cert_path, folder / own.link_key_path)
                context.check_hostname = False  # the handshake compares the member's name with the certificate
                context.verify_mode = ssl.CERT_REQUIRED
                contexts.append(context)
            return LinksConfig(listen=own.link_listen, tls_server=contexts[0], tls_client=contexts[1])
        key = cluster_key(config)
        if key is None:
            raise SetupError(
                "cluster.key_path: links need the cluster's key or certificates. Make one key for all members: "
                "`(umask 077; head -c 32 /dev/urandom > cluster.key)`"
            )
        return LinksConfig(listen=own.link_listen, key=key)
    except (OSError, ValueError) as error:
        raise SetupError(f"links: {error}") from error


def layout_of(config: Config, place: Place | None, level: int | None = None) -> Layout:
    """The regions of the world; ``level``: other than those of a cluster. Raises SetupError."""
    own = config.cluster
    level = own.region_level if level is None else level
    extent_m = config.world.extent_m
    if place is not None:
        extent_m = 2.0 * float(np.abs(place.ground.bounds).max()) / GRID_PER_M
    try:
        if own.region_side_m is not None:
            return Layout(own.region_side_m, level)
        return Layout.around(extent_m, level)
    except ValueError as error:
        raise SetupError(f"cluster.region_level: {error}") from error


def level_max_of(config: Config, layout: Layout) -> int:
    """The level of the smallest regions that one may be split into. Raises SetupError."""
    if config.cluster.region_level_max is not None:
        try:
            return Layout(layout.side_m, config.cluster.region_level_max).level
        except ValueError as error:
            raise SetupError(f"cluster.region_level_max: {error}") from error
    level = layout.level
    while level < LEVEL_MAX and layout.side_m / (2 << level) >= REGION_LEAST_M:
        level += 1
    return level


def world_record(config: Config, layout: Layout) -> WorldRecord:
    """What the options say of the world; tick 0 is now if this process is its first."""
    world = config.world
    now_ms = time.time_ns() // 1_000_000
    return WorldRecord(
        world.name, now_ms, world.rate_hz, world.seed, layout.side_m, layout.level, level_max_of(config, layout)
    )
