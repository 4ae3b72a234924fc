"""Operators' orders in the coordination store, as every process's book has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.book import Book
from cluster.orders import Ban, Broadcast, Kick, Mute, Order, ProfileChange, order_key, read_order, write_order
from cluster.records import RecordError
from cluster.store.contract import Change, Record, Relisted, WatchBatch

KEY = bytes(range(16))
ORDERS: tuple[Order, ...] = (
    Kick(2**63, "rude", "ada"),
    Broadcast(7, "hello", "ada"),
    Ban(KEY, 1.5e9, "rude", "ada", "Anna"),
    Mute(KEY, 0.0, "", "ada", "Anna"),
    ProfileChange("device", {"bytes_per_s": 4000.0}, "ada"),
)


def _record(order: Order) -> Record:
    return Record(order_key(order), write_order(order), 1, 1, None)


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_is_read_as_it_was_written(order: Order) -> None:
    assert read_order(order_key(order), write_order(order)) == order
    with pytest.raises(RecordError, match="order/ban/other"):
        read_order("order/ban/other", write_order(order))


@given(st.binary(max_size=80))
def test_bytes_that_are_no_order_name_their_key(data: bytes) -> None:
    with pytest.raises(RecordError, match="order/kick/1"):
        read_order("order/kick/1", data)


def test_a_digest_of_another_size_is_refused() -> None:
    short = Ban(b"short", 0.0, "", "", "")
    with pytest.raises(RecordError, match="16 bytes"):
        read_order(order_key(short), write_order(short))


def test_the_book_follows_orders_and_begins_another_dict_for_each_news() -> None:
    book = Book()
    book.watched(Relisted(1, tuple(_record(order) for order in ORDERS)))
    assert list(book.orders.values()) == list(ORDERS)
    before = book.orders
    key = order_key(ORDERS[2])
    book.watched(WatchBatch(2, (Change(key, None),)))
    assert key not in book.orders
    assert key in before
    same = book.orders
    book.watched(WatchBatch(3, (Change("ids", None),)))
    assert book.orders is same, "no news of orders"
    book.watched(WatchBatch(4, (Change("order/kick/9", Record("order/kick/9", b"?", 4, 1, None)),)))
    assert book.problems, "what cannot be read is told, and nothing else is touched"
    assert book.orders == same
