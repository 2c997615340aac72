"""When a store polls and when the server waits for it, and that both go on whatever error one poll meets."""

# When the server waits is not visible from outside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from romancy_mysql import _wakeups
from romancy_mysql._server_wait import ticks_for
from romancy_mysql._wakeups import Wakeups

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


class OddDatabase:
    """The first look raises an unexpected error, the next ones find something."""

    settings = SimpleNamespace(identity="odd", where="odd", listen=False)

    def __init__(self) -> None:
        self.looks = 0

    def check_open(self) -> None:
        pass

    def statement(self, name: str, **values: object) -> str:
        return name

    async def ask(self, *statements: str) -> list[Any]:
        if statements == ("read_now",):
            return [SimpleNamespace(rows=[(1,)])]
        self.looks += 1
        if self.looks == 1:
            raise ValueError("what is this?")
        return [SimpleNamespace(rows=[(b"one", self.looks)])]


async def test_a_look_that_breaks_is_told_and_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    database: Any = OddDatabase()
    wakeups = Wakeups(database)
    await wakeups.open()
    try:
        assert await wakeups.wait(10.0) != frozenset()
    finally:
        await wakeups.close()

    assert "what is this?" in caplog.text


class Served:
    """A database whose server waits until the test answers, with the polls so far and what the next ones find."""

    settings = SimpleNamespace(identity="served", where="served", listen=True, timeout=30.0)
    engine = SimpleNamespace(waits=True)
    waiting = "waiting"

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.polls = 0
        self.waits: list[tuple[dict[str, Any], asyncio.Future[list[Any]]]] = []
        self.came = asyncio.Condition()

    def check_open(self) -> None:
        pass

    def statement(self, name: str, **values: Any) -> tuple[str, dict[str, Any]]:
        return name, values

    async def ask(self, *statements: tuple[str, dict[str, Any]], pool: str = "") -> list[Any]:
        name, values = statements[0]
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        if name == "await_change":
            assert pool == self.waiting
            self.waits.append((values, answer))
        elif name == "touched":
            self.polls += 1
        async with self.came:
            self.came.notify_all()
        if name != "await_change":
            answer.set_result([SimpleNamespace(rows=[(1,)] if name == "read_now" else list(self.found))])
        return await answer

    async def until_it_waits(self, times: int) -> dict[str, Any]:
        """Wait until the server was asked so often to wait. Return what it was asked."""
        async with self.came:
            await self.came.wait_for(lambda: len(self.waits) >= times)
        return self.waits[times - 1][0]

    async def until_polled(self, times: int) -> None:
        """Wait until the store has polled so often."""
        async with self.came:
            await self.came.wait_for(lambda: self.polls >= times)

    def announce(self) -> None:
        """End the wait: a row was touched."""
        self.waits[-1][1].set_result([SimpleNamespace(rows=[(1,)])])


@pytest.fixture
def database() -> Any:
    return Served()


@pytest.fixture
async def wakeups(database: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Wakeups]:
    monkeypatch.setattr(_wakeups, "_EVERYTHING_EVERY", 3600)
    opened = Wakeups(database)
    await opened.open()
    yield opened
    await opened.close()


def never_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let polls follow reports and announcements alone."""
    monkeypatch.setattr(_wakeups, "_QUICKEST", 3600.0)
    monkeypatch.setattr(_wakeups, "_SLOWEST", 3600.0)


async def test_what_the_server_announces_is_polled_for_at_once(
    database: Served, wakeups: Wakeups, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_poll(monkeypatch)
    wakeups._pace = 3600.0
    waiting = asyncio.create_task(wakeups.wait(60.0))
    await database.until_it_waits(1)
    assert database.polls == 0

    database.found = [(b"one", 5)]
    database.announce()

    assert await waiting == frozenset(["one"])
    assert database.polls == 1


async def test_after_a_change_the_server_looks_often(
    database: Served, wakeups: Wakeups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that answer each other wait for a few milliseconds each."""
    never_poll(monkeypatch)
    wakeups._pace = 3600.0
    wakeups._heard_at -= 10.0
    waiting = asyncio.create_task(wakeups.wait(60.0))
    assert (await database.until_it_waits(1))["tick_ms"] == 50

    database.found = [(b"one", 5)]
    database.announce()
    assert await waiting == frozenset(["one"])
    waiting = asyncio.create_task(wakeups.wait(60.0))

    asked = await database.until_it_waits(2)
    assert asked["tick_ms"] < 50
    assert asked["since"] == 5
    waiting.cancel()


async def test_what_is_announced_before_its_commit_is_polled_for_until_it_is_there(
    database: Served, wakeups: Wakeups
) -> None:
    wakeups._pace = 3600.0
    waiting = asyncio.create_task(wakeups.wait(60.0))
    await database.until_it_waits(1)

    database.announce()
    await database.until_polled(3)
    database.found = [(b"one", 5)]

    assert await waiting == frozenset(["one"])
    await asyncio.create_task(database.until_it_waits(2))  # there is no reason to doubt the server


async def test_a_report_is_answered_by_polls_while_the_server_looks_seldom(database: Served, wakeups: Wakeups) -> None:
    wakeups._pace = 3600.0
    wakeups._heard_at -= 10.0
    waiting = asyncio.create_task(wakeups.wait(60.0))
    await database.until_it_waits(1)
    wakeups.tell(["own"])
    assert await waiting == frozenset(["own"])

    waiting = asyncio.create_task(wakeups.wait(60.0))
    await database.until_polled(3)
    database.found = [(b"answer", 5)]

    assert await waiting == frozenset(["answer"])
    assert len(database.waits) == 1


async def test_a_stream_of_changes_is_polled_fifty_times_a_second(database: Served, wakeups: Wakeups) -> None:
    loop = asyncio.get_running_loop()
    numbers = count(2)
    began = loop.time()
    while loop.time() < began + 1.0:
        number = next(numbers)
        database.found = [(b"one", number)]
        wakeups.tell(["own"])
        if database.waits and not database.waits[-1][1].done():
            database.announce()
        await wakeups.wait(60.0)

    assert database.polls <= 15 + (loop.time() - began) / 0.02
    assert len(database.waits) <= 15


@pytest.mark.parametrize("quiet", [0.0, 20.0, 100.0, 300.0, 10_000.0])
def test_the_ticks_of_a_wait_fill_its_time(quiet: float) -> None:
    first, ticks = ticks_for(2000.0, quiet)

    lengths = [min(first * 1.2**number, 50) for number in range(ticks)]
    assert 2000 <= sum(lengths) <= 2050
    assert 2 <= first <= 50
    assert first <= max(2, quiet / 5)
