"""Where compiled kernels are looked for, how they are counted, and which machines may run them."""

import os
from pathlib import Path

import pytest

from kernels.jit import cache_folder, jit, kernels_now, missing_features, writable


def _three_times(number: int) -> int:
    return 3 * number


def test_a_folder_that_can_be_written_is_used_as_it_is(tmp_path: Path) -> None:
    assert writable(tmp_path / "new" / "one") == tmp_path / "new" / "one"
    assert (tmp_path / "new" / "one").is_dir()


def test_of_a_folder_that_cannot_be_written_there_are_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = tmp_path / "sealed"
    (sealed / "kernels_1").mkdir(parents=True)
    (sealed / "kernels_1" / "walk.nbi").write_bytes(b"index")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(os, "access", lambda path, mode: path != sealed)
    links = writable(sealed)
    assert links != sealed
    assert links.parent == tmp_path
    assert (links / "kernels_1" / "walk.nbi").is_symlink()
    assert (links / "kernels_1" / "walk.nbi").read_bytes() == b"index"
    os.replace(_file(tmp_path / "draft"), links / "kernels_1" / "walk.nbi")  # as numba writes
    assert (sealed / "kernels_1" / "walk.nbi").read_bytes() == b"index", "the image's stays"


def _file(path: Path) -> Path:
    path.write_bytes(b"new")
    return path


def test_a_folder_that_cannot_be_made_is_no_reason_to_end(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    instead = writable(tmp_path / "file" / "kernels")
    assert instead.is_dir()
    assert not list(instead.iterdir())


def test_nobody_needs_a_home_whose_cache_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/opt/isthmus/kernels")
    monkeypatch.setattr(Path, "home", lambda: 1 / 0)
    assert cache_folder().parent == Path("/opt/isthmus/kernels")


def test_what_is_compiled_or_loaded_is_counted() -> None:
    before = kernels_now()
    assert jit(_three_times)(2) == 6
    first = kernels_now()
    assert sum(first) == sum(before) + 1
    again = jit(_three_times)  # as in a process that starts after it
    assert again(2) == again(3) - 3 == 6
    assert kernels_now() == (first.loaded + 1, first.compiled)


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        ("", []),
        ("+avx,+fma", []),
        ("+avx,-avx512f,+avx2", ["avx2"]),
        ("+avx512f,+sse9", ["avx512f", "sse9"]),
    ],
)
def test_features_that_the_cpu_lacks_are_named(wanted: str, missing: list[str]) -> None:
    assert missing_features(wanted, {"avx": True, "fma": True, "avx512f": False}) == missing


def test_kernels_for_this_machine_lack_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    assert missing_features() == []
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+no-such-unit")
    assert missing_features() == ["no-such-unit"]
