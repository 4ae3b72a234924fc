"""The console's files and what it carries out: the log on the disk, orders that survive, a profile's checks."""

import stat
from pathlib import Path

import pytest

from cluster.book import Book
from cluster.orders import Ban, Broadcast, Kick, Mute, Orders, ProfileChange, order_key
from cluster.store.memory import MemoryStore
from isthmus.config import Config
from isthmus.console.acting import checked_profile
from isthmus.console.keeping import FileKeeper, OrdersUnusable, StoreKeeper
from isthmus.console.log import LogUnusable, OperatorLog, show
from isthmus.console.opening import operators_of
from isthmus.fleet.rates import EVERY_S, Rates
from isthmus.fleet.setup import SetupError
from isthmus.operate import NotDone
from server.console.audit import ASKED, DONE
from server.session.identity import Identity

KEY = bytes(16)


async def _filled(path: Path) -> OperatorLog:
    log = OperatorLog.open(path)
    asked = await log.write("ada", "secret", ASKED, {"do": "drain", "member": "shard-0"})
    await log.write("ada", "secret", DONE, asked.what, "shard-0 has drained and ended", of=asked.number)
    return log


async def test_two_processes_never_write_one_log(tmp_path: Path) -> None:
    path = tmp_path / "operators.jsonl"
    log = await _filled(path)
    with pytest.raises(LogUnusable, match="another process writes"):
        OperatorLog.open(path)
    log.close()
    OperatorLog.open(path).close()


async def test_the_log_goes_on_after_a_restart_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "operators.jsonl"
    (await _filled(path)).close()
    again = OperatorLog.open(path)
    entry = await again.write("bob", "token", ASKED, {"do": "kick", "session": "5"})
    assert entry.number == 3
    assert [e.number for e in again.before(None, 10)] == [3, 2, 1]
    assert [e.number for e in again.before(3, 1)] == [2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert show(path) == 0


async def test_an_altered_log_is_not_written_on_and_audit_names_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "operators.jsonl"
    (await _filled(path)).close()
    path.write_bytes(path.read_bytes().replace(b"has drained", b"has not dra"))
    with pytest.raises(LogUnusable, match="line 2: it was altered"):
        OperatorLog.open(path)
    assert show(path) == 1
    assert "line 2" in capsys.readouterr().err


async def test_half_a_line_of_a_crash_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "operators.jsonl"
    (await _filled(path)).close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"number": 3, "at"')
    log = OperatorLog.open(path)
    assert path.read_bytes() == whole
    assert (await log.write("ada", "secret", ASKED, {"do": "merge", "region": 5})).number == 3
    assert show(path) == 0


async def test_a_log_that_cannot_be_written_says_so_and_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "operators.jsonl"
    log = await _filled(path)
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(LogUnusable, match="cannot be written"):
        await log.write("ada", "secret", ASKED, {"do": "merge", "region": 5})
    (tmp_path / "elsewhere").rename(path)
    assert (await log.write("ada", "secret", ASKED, {"do": "merge", "region": 5})).number == 3
    assert show(path) == 0


async def test_orders_of_one_process_survive_it(tmp_path: Path) -> None:
    path = tmp_path / "world.orders.json"
    told: list[Orders] = []
    keeper = FileKeeper(path, told.append)
    ban, over = Ban(KEY, 0.0, "rude", "ada", "Anna"), Mute(KEY, 1.0, "", "ada", "Anna")
    change = ProfileChange("device", {"bytes_per_s": 4000.0}, "ada")
    for order in (over, ban, change):
        await keeper.give(order)
    assert set(told[-1]) == {order_key(ban), order_key(change)}, "whose time is over is kept no more"
    again: list[Orders] = []
    keeper = FileKeeper(path, again.append)
    assert again == [{order_key(ban): ban, order_key(change): change}]
    await keeper.give(Kick(5, "", "ada"))
    assert again[-2] == {**again[-1], order_key(Kick(5, "", "ada")): Kick(5, "", "ada")}
    assert await keeper.take_back(order_key(ban))
    assert not await keeper.take_back(order_key(ban))
    assert FileKeeper(path, again.append).orders == {order_key(change): change}
    path.write_text("{")
    with pytest.raises(OrdersUnusable, match="move it away"):
        FileKeeper(path, again.append)


async def test_orders_of_a_cluster_are_in_its_store_until_their_time_is_over() -> None:
    store, book = MemoryStore(), Book()
    keeper = StoreKeeper(store, lambda: book)
    ban, over = Ban(KEY, 4.0e9, "rude", "ada", "Anna"), Mute(KEY, 1.0, "", "ada", "Anna")
    word = Broadcast(1, "hello", "ada")
    for order in (ban, over, word):
        await keeper.give(order)
    records = {record.key: record for record in (await store.list("order/")).records}
    assert records[order_key(ban)].lease is None
    assert records[order_key(word)].lease is not None, "a passing order is forgotten by itself"
    book.orders = {order_key(ban): ban, order_key(over): over}
    await keeper.give(ProfileChange("vr", {"bytes_per_s": 9000.0}, "ada"))
    assert await store.get(order_key(over)) is None
    assert await store.get(order_key(ban)) is not None
    assert await keeper.take_back(order_key(ban))
    assert await store.get(order_key(ban)) is None
    await store.close()


def test_a_profile_is_checked_as_the_configuration_is() -> None:
    config = Config()
    assert checked_profile(config, "device", {"bytes_per_s": 4000.0, "radius_m": 20.0}).profile_device.radius_m == 20.0
    for values, says in (
        ({"bytes_per_s": -1.0}, "bytes_per_s: "),
        ({"radius_m": 1000.0}, "radius_m: "),
        ({"rate_hz": 2.5}, "no whole number"),
        ({"colour": 1.0}, "a profile has no 'colour'"),
    ):
        with pytest.raises(NotDone, match=says):
            checked_profile(config, "device", values)


def test_secrets_that_others_may_read_let_nobody_in(tmp_path: Path) -> None:
    from dataclasses import replace

    path = tmp_path / "operators"
    path.write_text(f"ada {'s' * 32}\n")
    config = Config(folder=str(tmp_path))
    config = replace(config, console=replace(config.console, secrets_path="operators"))
    path.chmod(0o644)
    with pytest.raises(SetupError, match="chmod 600"):
        operators_of(config, lambda token: Identity("t", str(token)))
    path.chmod(0o600)
    assert operators_of(config, lambda token: Identity("t", str(token))).of(f"Bearer {'s' * 32}").name == "ada"
    path.write_text("ada short\n")
    with pytest.raises(SetupError, match="line 1"):
        operators_of(config, lambda token: Identity("t", str(token)))


def test_a_rate_is_over_some_seconds_and_begins_anew_when_its_total_falls() -> None:
    rates = Rates()
    assert rates.per_s("a", 1000, 0.0) == 0.0
    assert rates.per_s("a", 1500, EVERY_S / 2) == 0.0
    assert rates.per_s("a", 2000, EVERY_S) == 1000 / EVERY_S
    assert rates.per_s("b", 5, EVERY_S) == 0.0
    assert rates.per_s("a", 9000, 1.5 * EVERY_S) == 1000 / EVERY_S
    assert rates.per_s("a", 10, 3 * EVERY_S) == 0.0
