"""Waiting in the server: changes are announced within it, and nothing that goes wrong there costs more than polling."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from romancy_conformance.contract.building import settle, start
from romancy_conformance.contract.interleaving import leave, listen
from romancy_mysql import _database, _wakeups
from romancy_mysql._sql import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]

TOUCH = b"update romancy_instances set touched_at = touched_at + 10000000 where instance_id = '%b'"


@pytest.fixture(autouse=True)
def no_complete_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_wakeups, "_EVERYTHING_EVERY", 3600)


class Resting:
    """A store on which a caller waits, with the names of the statements it sends."""

    def __init__(self, store: MySQLStore) -> None:
        self.store = store
        self.names: list[str] = []
        self.came = asyncio.Condition()
        listen(store, self._note)

    async def _note(self, statement: str, /) -> None:
        async with self.came:
            self.names.append(statement)
            self.came.notify_all()

    async def until(self, name: str, times: int = 1) -> None:
        """Return when the statement has been sent so often since `forget`."""
        async with self.came:
            await self.came.wait_for(lambda: self.names.count(name) >= times)

    def forget(self) -> None:
        self.names.clear()


@asynccontextmanager
async def resting(store: MySQLStore) -> AsyncGenerator[tuple[Resting, asyncio.Task[frozenset[str] | None]]]:
    """A store whose process has been at rest for so long that the server waits, and the waiting call."""
    await settle(store, 0.5)
    noted = Resting(store)
    call = asyncio.create_task(store.wait_for_work(60))
    try:
        yield noted, call
    finally:
        call.cancel()
        leave(store)


@pytest.fixture
async def far(open_store: Open, storage_url: str) -> MySQLStore:
    """A store that uses another name for the server, so the other stores of this process do not notify it."""
    return await open_store(url=storage_url.replace("127.0.0.1", "localhost"))


async def test_a_change_ends_the_wait(far: MySQLStore, store: MySQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait would last seven seconds. One is enough."""
    monkeypatch.setattr("romancy_mysql._server_wait.SECONDS", 7.0)
    item = start()
    async with resting(far) as (noted, call):
        await noted.until("await_change")
        await store.commit([item])

        assert await call == frozenset([item.instance_id])
        waited = noted.names.index("await_change")
        assert noted.names[waited : waited + 2] == ["await_change", "touched"]


async def test_what_is_not_committed_wakes_nobody_and_is_not_asked_for_again_and_again(
    far: MySQLStore, store: MySQLStore, wire: Wire
) -> None:
    item = start()
    await store.commit([item])
    await wire.run(b"start transaction", "test")
    async with resting(far) as (noted, call):
        await noted.until("await_change")
        await wire.run(TOUCH % item.instance_id.encode(), "test")
        await noted.until("touched", times=5)

        assert not call.done()
        assert noted.names.count("await_change") <= 2
        await wire.run(b"commit", "test")
        assert await call == frozenset([item.instance_id])


async def test_a_server_that_ends_long_statements_is_polled(
    open_store: Open, storage_url: str, store: MySQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sleep that is interrupted looks like a change."""
    limit = b"max_statement_time = 0.1" if storage_url.startswith("mariadb") else b"max_execution_time = 100"
    monkeypatch.setattr(_database, "_SEE_UNCOMMITTED", Statement("limit", b"set session " + limit))
    far = await open_store(url=storage_url.replace("127.0.0.1", "localhost"))
    item = start()
    async with resting(far) as (noted, call):
        await noted.until("touched", times=4)
        await store.commit([item])

        assert await call == frozenset([item.instance_id])
        assert noted.names.count("await_change") <= 2


async def test_a_server_that_refuses_the_statement_is_polled(
    far: MySQLStore, store: MySQLStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    composed = far.database.statement

    def refused(name: str, /, **parameters: Any) -> Statement:
        return Statement(name, b"select is refused") if name == "await_change" else composed(name, **parameters)

    monkeypatch.setattr(far.database, "statement", refused)
    item = start()
    async with resting(far) as (noted, call):
        await noted.until("touched", times=4)
        await store.commit([item])

        assert await call == frozenset([item.instance_id])
        assert noted.names.count("await_change") <= 1
    assert caplog.text.count("polling instead of waiting in the server") == 1


async def test_the_url_can_ask_for_polls(open_store: Open, storage_url: str, store: MySQLStore) -> None:
    far = await open_store("listen=off", url=storage_url.replace("127.0.0.1", "localhost"))
    item = start()
    async with resting(far) as (noted, call):
        await noted.until("touched", times=4)
        await store.commit([item])

        assert await call == frozenset([item.instance_id])
        assert "await_change" not in noted.names


async def test_the_wait_reads_one_entry_a_tick(store: MySQLStore, wire: Wire) -> None:
    """Not one an instance: the newest one tells."""
    await store.commit([start() for _ in range(500)])
    ask = store.database.statement("await_change", ticks=3, tick_ms=1, longest_ms=2, since=2**62)
    before = await handler_reads(wire)
    await wire.run(ask.sql, "test")

    assert await handler_reads(wire) - before <= 60


async def handler_reads(wire: Wire) -> int:
    """Return how many entries of indexes and tables this connection has read."""
    (answer,) = await wire.run(b"show session status like 'Handler_read%'", "test")
    return sum(int(value) for _, value in answer.rows)
