"""Reading what lies in inboxes: in order, page by page, of one instance or of all, and without taking it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.any_store import lying_in
from romancy.storage.lookups import MOST_BYTES, Lying
from romancy.storage.records import Delivered, Delivery, Outcome
from romancy_conformance.contract.building import lookups_of, start

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

IDS = ("Zebra", "a", "a/", "ä", "\U0010ffff")
"""In the order of their bytes."""


async def delivered(store: Store, *messages: tuple[str, str, bytes]) -> None:
    ids = dict.fromkeys(instance_id for instance_id, _, _ in messages)
    begun = [start(instance_id=one, delay=10**12) for one in ids]
    assert {Outcome.ACCEPTED} == set(await store.commit(begun))
    batch = [Delivery(instance_id=one, delivery_id=delivery_id, body=body) for one, delivery_id, body in messages]
    assert {Delivered.ACCEPTED} == set(await store.deliver(batch))


def names(page: list[Lying]) -> list[tuple[str, str, bytes]]:
    return [(one, row.delivery_id, row.body) for one, row, *_ in page]


async def test_nothing_lies_where_nothing_was_delivered(store: Store) -> None:
    assert [] == await lookups_of(store).lying()
    assert [] == await lookups_of(store).lying("nobody")


async def test_all_inboxes_are_read_in_order_and_page_by_page(store: Store) -> None:
    lying = lookups_of(store).lying
    messages = [(one, name, f"{one} {name}".encode()) for one in IDS for name in ("B", "a", "é")]
    await delivered(store, *reversed(messages))

    assert messages == names(await lying())
    assert messages == names([one async for one in lying_in(store, most=100)])
    after, paged = ("", ""), list[tuple[str, str, bytes]]()
    while page := names(await lying(after=after, limit=2)):
        paged += page
        after = page[-1][:2]
    assert messages == paged


async def test_the_inbox_of_an_instance_is_read_alone(store: Store) -> None:
    messages = [(one, name, b"x") for one in IDS for name in ("1", "2")]
    await delivered(store, *messages)

    for one in IDS:
        found = [each async for each in lying_in(store, one, most=100)]
        assert [(one, "1", b"x"), (one, "2", b"x")] == names(found)
        assert [(one, "1", b"x")] == names([each async for each in lying_in(store, one, most=1)])
        assert all(row.at > 0 and row.address is None and row.interest is None for _, row, *_ in found)


async def test_reading_takes_nothing(store: Store) -> None:
    await delivered(store, ("a", "1", b"x"))

    assert await lookups_of(store).lying("a") == await lookups_of(store).lying("a")


async def test_a_page_ends_where_it_is_large(store: Store) -> None:
    large = b"x" * (MOST_BYTES // 3 + 1)
    await delivered(store, *(("a", f"{number}", large) for number in range(5)))

    page = await lookups_of(store).lying("a", after=("a", ""))

    assert ["0", "1", "2"] == [row.delivery_id for _, row, *_ in page]
    assert 5 == len([one async for one in lying_in(store, "a", most=100)])


async def test_a_page_takes_what_begins_before_it_is_full(store: Store) -> None:
    half = b"x" * (MOST_BYTES // 2)
    await delivered(store, *(("a", f"{number}", half) for number in range(3)))

    page = await lookups_of(store).lying("a", after=("a", ""))

    assert ["0", "1"] == [row.delivery_id for _, row, *_ in page]
