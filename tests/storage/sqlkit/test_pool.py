"""The pool of connections: bounded, with a limited wait; a connection in an unknown state is not lent again."""

from __future__ import annotations

import asyncio
import gc
import random

import pytest

from romancy.errors import StorageUnavailableError
from romancy.storage.sqlkit.pool import Pool

pytestmark = pytest.mark.anyio


class Connection:
    def __init__(self) -> None:
        self.broken = self.dropped = self.closed = False


class Server:
    """Makes connections, each when the test allows it, and counts the open ones."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.accepts = asyncio.Event()
        self.accepts.set()
        self.closes = asyncio.Event()
        self.closes.set()
        self.refuses = False
        self.most = 0

    @property
    def open(self) -> list[Connection]:
        return [one for one in self.connections if not one.closed]

    async def connect(self) -> Connection:
        await self.accepts.wait()
        if self.refuses:
            raise OSError("refused")
        self.connections.append(Connection())
        self.most = max(self.most, len(self.open))
        return self.connections[-1]

    def is_dead(self, connection: Connection, /) -> bool:
        return connection.broken or connection.dropped or connection.closed

    def drop(self, connection: Connection, /) -> None:
        connection.dropped = True

    async def close(self, connection: Connection, /) -> None:
        await self.closes.wait()
        connection.closed = True


class SlowServer(Server):
    """Takes some turns of the loop to close a connection, as a transport does."""

    async def close(self, connection: Connection, /) -> None:
        await turns(20)
        await super().close(connection)


def pool_of(server: Server, size: int = 2, *, patience: float = 60, idle: float = 60) -> Pool[Connection]:
    return Pool("here", server.connect, server, size, patience=patience, idle=idle)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_connection_is_lent_again() -> None:
    server = Server()
    pool = pool_of(server)
    assert pool.grab() is None
    first = await pool.take()
    pool.give_back(first)

    assert pool.grab() is first
    assert pool.grab() is None
    pool.give_back(first)
    async with pool.borrow() as second:
        assert second is first
    await pool.close()

    assert [True] == [one.closed for one in server.connections]


async def test_no_more_than_the_size_are_open_and_the_first_who_waits_is_served_first() -> None:
    server = Server()
    pool = pool_of(server)
    held = [await pool.take(), await pool.take()]
    waiting = [asyncio.create_task(pool.take()) for _ in range(2)]
    await turns()

    pool.give_back(held[0])
    await turns()

    assert [True, False] == [task.done() for task in waiting]
    assert await waiting[0] is held[0]
    assert pool.grab() is None
    pool.give_back(held[1])
    assert await waiting[1] is held[1]
    assert server.most == 2


async def test_a_caller_that_waits_too_long_gets_an_error_that_names_pool_size() -> None:
    pool = pool_of(Server(), 1, patience=0.01)
    held = await pool.take()

    with pytest.raises(
        StorageUnavailableError, match=r"here: no connection became free within 0.01 s; raise pool_size"
    ):
        await pool.take()

    pool.give_back(held)
    assert await pool.take() is held


async def test_a_place_offered_to_a_cancelled_caller_goes_to_the_next() -> None:
    pool = pool_of(Server(), 1)
    held = await pool.take()
    first, second = (asyncio.create_task(pool.take()) for _ in range(2))
    await turns()

    pool.give_back(held)
    first.cancel()

    with pytest.raises(asyncio.CancelledError):
        await first
    assert await asyncio.wait_for(second, 60) is held


async def test_a_connection_whose_caller_is_cancelled_is_kept() -> None:
    server = Server()
    server.accepts.clear()
    pool = pool_of(server, 1)
    first = asyncio.create_task(pool.take())
    await turns()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    server.accepts.set()

    assert await asyncio.wait_for(pool.take(), 60) is server.connections[0]
    assert len(server.connections) == 1


async def test_a_failure_to_connect_frees_the_place() -> None:
    server = Server()
    server.refuses = True
    pool = pool_of(server, 1)
    for _ in range(3):
        with pytest.raises(OSError, match="refused"):
            await pool.take()
    server.refuses = False

    assert await pool.take() is server.connections[0]


async def test_a_discarded_connection_keeps_its_place_until_it_is_closed() -> None:
    server = Server()
    server.closes.clear()
    pool = pool_of(server, 1)
    pool.discard(await pool.take())
    next_one = asyncio.create_task(pool.take())
    await turns()
    assert not next_one.done()

    server.closes.set()

    await next_one
    assert server.most == 1


async def test_a_broken_connection_is_not_lent_again() -> None:
    server = Server()
    pool = pool_of(server, 3)
    one, two, three = [await pool.take() for _ in range(3)]
    two.broken = True
    for connection in (one, two, three):
        pool.give_back(connection)
    three.broken = True

    assert pool.grab() is None
    one.broken = True
    fresh = await pool.take()
    await turns()

    assert fresh not in (one, two, three)
    assert [fresh] == server.open


async def test_cleaning_happens_before_the_next_use_and_its_failure_discards() -> None:
    server = Server()
    pool = pool_of(server, 1)
    cleaned: list[Connection] = []

    async def clean(connection: Connection) -> None:
        await asyncio.sleep(0)
        cleaned.append(connection)
        if len(cleaned) == 2:
            raise OSError("gone")

    first = await pool.take()
    pool.give_back_after(first, clean)
    assert await pool.take() is first
    assert [first] == cleaned
    pool.give_back_after(first, clean)

    assert await pool.take() is not first
    assert first.closed


async def test_idle_connections_are_dropped_on_request() -> None:
    server = Server()
    pool = pool_of(server)
    pool.give_back(await pool.take())

    pool.drop_idle()
    await turns()

    assert (True, True) == (server.connections[0].dropped, server.connections[0].closed)


async def test_a_connection_that_is_idle_for_too_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("romancy.storage.sqlkit.pool.monotonic", lambda: now)
    server = Server()
    pool = pool_of(server, idle=5)
    one, two = await pool.take(), await pool.take()
    pool.give_back(one)
    now = 106.0
    pool.give_back(two)
    await turns()

    assert (True, False) == (one.closed, two.closed)


async def test_an_idle_connection_keeps_its_place_until_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("romancy.storage.sqlkit.pool.monotonic", lambda: now)
    server = Server()
    pool = pool_of(server, idle=5)
    one, two = await pool.take(), await pool.take()
    pool.give_back(one)
    server.closes.clear()
    now = 106.0
    pool.give_back(two)
    assert await pool.take() is two

    third = asyncio.create_task(pool.take())
    await turns()
    assert not third.done()
    server.closes.set()
    await third

    assert server.most == 2


async def test_closing_drops_lent_connections_and_refuses_later_callers() -> None:
    server = Server()
    pool = pool_of(server, 2)
    lent = await pool.take()
    pool.give_back(await pool.take())

    await pool.close()

    assert lent.dropped
    with pytest.raises(StorageUnavailableError, match="the store is closed"):
        await pool.take()
    pool.give_back(lent)
    await pool.close()
    assert server.open == []


@pytest.mark.parametrize("accepts", [True, False], ids=["in_use", "connecting"])
@pytest.mark.parametrize("cleans", [False, True], ids=["gives_back", "cleans"])
def test_a_loop_may_end_as_soon_as_the_pool_is_closed(
    caplog: pytest.LogCaptureFixture, *, accepts: bool, cleans: bool
) -> None:
    async def borrow_and_close() -> asyncio.Task[None]:
        server = SlowServer()
        pool = pool_of(server)

        async def use() -> None:
            connection = await pool.take()
            try:
                await asyncio.Event().wait()
            finally:
                if cleans:
                    pool.give_back_after(connection, server.close)
                else:
                    pool.give_back(connection)

        if not accepts:
            server.accepts.clear()
        using = asyncio.create_task(use())
        await turns()
        closing = asyncio.create_task(pool.close())
        await turns()
        server.accepts.set()
        await closing
        return using

    using = asyncio.run(borrow_and_close())
    assert using.done()
    del using
    gc.collect()

    assert "was destroyed" not in caplog.text


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_borrowers_do_no_place_is_lost(seed: int) -> None:
    chance = random.Random(seed)
    server = Server()
    pool = pool_of(server, 3)

    async def use() -> None:
        connection = pool.grab() or await pool.take()
        assert not server.is_dead(connection)
        try:
            await turns(chance.randrange(3))
            connection.broken = chance.random() < 0.2
        finally:
            match chance.randrange(3):
                case 0:
                    pool.give_back(connection)
                case 1:
                    pool.discard(connection)
                case _:
                    pool.give_back_after(connection, clean)

    async def clean(connection: Connection) -> None:
        await turns(chance.randrange(3))
        if chance.random() < 0.3:
            raise OSError("gone")

    for _ in range(30):
        tasks = [asyncio.create_task(use()) for _ in range(8)]
        await turns(chance.randrange(4))
        chance.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.wait_for(asyncio.gather(*(pool.take() for _ in range(3))), 60)

    assert server.most <= 3
