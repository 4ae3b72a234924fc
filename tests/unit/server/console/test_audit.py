"""The chain of what operators did: anything that was done to it is found."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.console.audit import ASKED, DONE, Altered, Chain, read_chain


def _lines(count: int) -> list[bytes]:
    chain, lines = Chain(), []
    for k in range(count):
        state, of = (ASKED, 0) if k % 2 == 0 else (DONE, k)
        entry, line = chain.next(
            f"2026-01-01T00:00:{k:02}+00:00", "ada", "secret", state, {"do": "kick", "session": str(k)}, "gone", of
        )
        chain.written(entry)
        lines.append(line)
    return lines


LINES = _lines(6)


def test_a_whole_chain_reads_as_it_was_written() -> None:
    entries = list(read_chain(LINES))
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert entries[1].of == 1
    assert entries[0].what == {"do": "kick", "session": "0"}
    assert list(read_chain([])) == []


@given(st.integers(0, len(LINES) - 1), st.data())
def test_any_altered_byte_is_found(line: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(LINES[line]) - 2))  # the line's end aside
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != LINES[line][at]))
    changed = LINES[line][:at] + bytes([byte]) + LINES[line][at + 1 :]
    with pytest.raises(Altered) as found:
        list(read_chain([*LINES[:line], changed, *LINES[line + 1 :]]))
    assert found.value.line == line + 1


@given(st.permutations(range(len(LINES))), st.integers(1, len(LINES)))
def test_lines_taken_out_or_moved_are_found_unless_the_end_was_cut_off(order: list[int], count: int) -> None:
    kept = order[:count]
    if kept == sorted(kept) and kept == list(range(len(kept))):
        assert len(list(read_chain(LINES[k] for k in kept))) == len(kept)
    else:
        with pytest.raises(Altered):
            list(read_chain(LINES[k] for k in kept))


def test_a_line_made_anew_with_a_right_digest_breaks_what_follows() -> None:
    chain = Chain()
    entries = list(read_chain(LINES))
    chain.written(entries[1])
    _, forged = chain.next("2026-01-01T00:00:02+00:00", "bob", "secret", ASKED, {"do": "drain", "member": "shard-0"})
    with pytest.raises(Altered) as found:
        list(read_chain([*LINES[:2], forged, *LINES[3:]]))
    assert found.value.line == 4


@given(st.binary(max_size=60))
def test_what_is_no_entry_is_altered_and_nothing_else(line: bytes) -> None:
    with pytest.raises(Altered):
        list(read_chain([line]))


def test_unknown_fields_are_no_entry() -> None:
    entry = msgspec.json.decode(LINES[0])
    with pytest.raises(Altered):
        list(read_chain([msgspec.json.encode({**entry, "more": 1})]))
