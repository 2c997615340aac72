"""The transactions that a process has seen: answers that overtake each other, and servers that lack some of them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from romancy.errors import StorageUnavailableError
from romancy_mysql._lineage import Lineage
from romancy_mysql._protocol import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_mysql._connection import Wire

pytestmark = pytest.mark.anyio

MYSQL, MARIADB = "9.7.4", "10.11.18-MariaDB"
SOURCE = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


class Answering:
    """A connection to a server with so many transactions, which answers when it is told to."""

    def __init__(self, where: str, product: str, transactions: int) -> None:
        self.settings = SimpleNamespace(where=where, scheme="mysql")
        self.server_version = product
        self.transactions = transactions
        self.open = asyncio.Event()
        self.asked = 0
        self.aborted = False
        self.tainted = False

    async def run(self, packet: bytes, what: str) -> list[Answer]:
        self.asked += 1
        there = self.transactions
        await self.open.wait()
        if self.server_version == MARIADB:
            return [Answer(((f"0-1-{there}",),), 0), Answer((), 0)]
        seen = packet.decode().split("'")[1]
        complete = not seen or int(seen.rpartition("-")[2]) <= there
        return [Answer(((f"{SOURCE}:1-{there}", int(complete)),), 0)]

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture(params=[MYSQL, MARIADB])
def make(request: pytest.FixtureRequest) -> Callable[[str, int], Answering]:
    return lambda where, transactions: Answering(where, request.param, transactions)


async def admit(lineage: Lineage, connection: Answering) -> None:
    await lineage.admit(cast("Wire", connection))


async def test_an_answer_that_is_overtaken_by_a_later_one_is_asked_again(
    make: Callable[[str, int], Answering],
) -> None:
    """Its server had fewer transactions when it answered, and has them all now."""
    lineage = Lineage()
    first, early, later = (make("a", number) for number in (50, 100, 200))
    first.open.set()
    later.open.set()
    await admit(lineage, first)
    admitted = asyncio.create_task(admit(lineage, early))
    await asyncio.sleep(0)
    await admit(lineage, later)
    early.transactions = 210
    early.open.set()
    await admitted

    assert early.asked == 2
    behind = make("b", 205)
    behind.open.set()
    with pytest.raises(StorageUnavailableError, match="b: it is behind a, which was used before"):
        await admit(lineage, behind)


async def test_an_overtaken_answer_of_a_server_that_is_behind_is_refused(
    make: Callable[[str, int], Answering],
) -> None:
    """What it was compared with is old: it had all transactions that were known when it was asked."""
    lineage = Lineage()
    first, lost, later = make("a", 50), make("lost", 60), make("a", 200)
    first.open.set()
    later.open.set()
    await admit(lineage, first)
    admitted = asyncio.create_task(admit(lineage, lost))
    await asyncio.sleep(0)
    await admit(lineage, later)
    lost.open.set()

    with pytest.raises(StorageUnavailableError, match="lost: it is behind a"):
        await admitted
    assert not later.aborted


async def test_the_connections_to_the_server_before_are_ended(make: Callable[[str, int], Answering]) -> None:
    lineage = Lineage()
    old, new = make("old", 50), make("new", 60)
    old.open.set()
    new.open.set()
    await admit(lineage, old)

    await admit(lineage, new)

    assert (old.aborted, new.aborted) == (True, False)


async def admitted(lineage: Lineage, connection: Answering) -> Answering:
    connection.open.set()
    await admit(lineage, connection)
    return connection


async def ask_again(lineage: Lineage, connection: Answering) -> None:
    await lineage.ask_again(cast("Wire", connection))


async def test_a_promoted_server_is_asked_again_until_it_has_something_new(
    make: Callable[[str, int], Answering],
) -> None:
    """All connections were made before it had written anything, so the lost one lacked nothing."""
    lineage = Lineage()
    await admitted(lineage, make("old", 50))
    new = await admitted(lineage, make("new", 50))
    await ask_again(lineage, new)
    before = lineage.unsure
    new.transactions += 1

    await ask_again(lineage, new)

    assert (before, lineage.unsure) == (True, False)
    with pytest.raises(StorageUnavailableError, match="old: it is behind new"):
        await admitted(lineage, make("old", 50))


async def test_a_later_connection_that_shows_something_new_is_enough(make: Callable[[str, int], Answering]) -> None:
    lineage = Lineage()
    await admitted(lineage, make("a", 50))
    before = lineage.unsure

    await admitted(lineage, make("a", 51))

    assert (before, lineage.unsure) == (True, False)


async def test_a_server_that_shows_nothing_is_not_asked_for_ever(make: Callable[[str, int], Answering]) -> None:
    lineage = Lineage()
    a = await admitted(lineage, make("a", 50))

    asked = 0
    while lineage.unsure:
        await ask_again(lineage, a)
        asked += 1

    assert 100 < asked < 10_000


async def test_what_a_server_says_after_another_has_taken_its_place_counts_for_nothing(
    make: Callable[[str, int], Answering],
) -> None:
    lineage = Lineage()
    old = await admitted(lineage, make("old", 50))
    old.open.clear()
    asking = asyncio.create_task(ask_again(lineage, old))
    await asyncio.sleep(0)
    new = await admitted(lineage, make("new", 50))
    old.open.set()
    await asking
    await ask_again(lineage, old)

    new.transactions = 51
    await ask_again(lineage, new)

    assert not new.aborted
    with pytest.raises(StorageUnavailableError, match="old: it is behind new"):
        await admitted(lineage, make("old", 50))


async def test_a_server_that_has_lost_transactions_is_refused_when_it_is_asked_again(
    make: Callable[[str, int], Answering],
) -> None:
    lineage = Lineage()
    a = await admitted(lineage, make("a", 50))
    a.transactions = 40

    with pytest.raises(StorageUnavailableError, match="a: it is behind a"):
        await ask_again(lineage, a)
