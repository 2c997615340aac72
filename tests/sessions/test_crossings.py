"""Sessions of libraries, crossed with what else a start and a signal can be."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy.exc import ProgrammingError

from romancy import InstanceConflictError, Romancy, UsageError, WorkflowContext, ZlibCodec, workflow
from romancy_conformance.servers import Kind
from romancy_mysql import _posted
from romancy_postgres import _uncommitted
from tests.sessions.libraries import opened, sqlalchemy_url
from tests.sessions.workflows import PAID, greet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", *Kind)]


@workflow
async def two_payments(ctx: WorkflowContext) -> list[int]:
    return [(await ctx.wait_event(PAID)).data, (await ctx.wait_event(PAID)).data]


@pytest.fixture
async def app(storage_url: str) -> AsyncIterator[Romancy]:
    async with Romancy(storage_url, workflows=[greet, two_payments], codecs=[ZlibCodec()]) as app:
        yield app


@pytest.mark.parametrize("library", ["AsyncSession", "Session"])
async def test_an_ended_instance_is_replaced(app: Romancy, storage_url: str, library: str) -> None:
    named = greet.options(instance_id="ann")
    await app.run(named, "ann")
    async with opened(library, storage_url) as caller:
        undone = await app.start(named, "bob", session=caller.session, if_exists="restart_ended")
        await caller.roll_back()
        assert await undone.result(timeout=60) == "hello ann"
        handle = await app.start(named, "bob", session=caller.session, if_exists="restart_ended")
        with pytest.raises(InstanceConflictError):
            await app.start(named, "cid", session=caller.session, if_exists="refuse")
        await caller.commit()
    assert await handle.result(timeout=60) == "hello bob"


@pytest.mark.parametrize("library", ["AsyncSession on psycopg", "blocking driver"])
async def test_a_signal_sent_again_in_a_session_is_received_once(app: Romancy, storage_url: str, library: str) -> None:
    handle = await app.start(two_payments)
    async with opened(library, storage_url) as caller:
        await handle.signal(PAID, 1, id="first", session=caller.session)
        await handle.signal(PAID, 2, id="first", session=caller.session)
        await caller.commit()
        await handle.signal(PAID, 3, id="first", session=caller.session)
        await handle.signal(PAID, 4, id="second", session=caller.session)
        await caller.commit()
    assert await handle.result(timeout=60) == [1, 4]


@pytest.mark.parametrize("library", ["AsyncSession", "Session"])
async def test_many_starts_of_a_client_in_one_transaction(app: Romancy, storage_url: str, library: str) -> None:
    async with app.as_client() as client, opened(library, storage_url) as caller:
        calls = [greet.bind(str(number)) for number in range(100)]
        handles = await client.start_many(calls, session=caller.session)
        await caller.commit()
        assert [await one.result(timeout=60) for one in handles] == [f"hello {number}" for number in range(100)]


@pytest.mark.backends(*Kind)  # changes of a SQLite file are looked for
@pytest.mark.parametrize("library", ["Session", "AsyncSession on psycopg"])
async def test_the_commit_of_a_session_starts_the_instance_at_once(
    app: Romancy, storage_url: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pauses of an hour, nothing but the session's own word ends the watch."""
    for module in (_uncommitted, _posted):
        monkeypatch.setattr(module, "_FIRST_PAUSE", 3600.0)
        monkeypatch.setattr(module, "_LONGEST_PAUSE", 3600.0)
    async with opened(library, storage_url) as caller:
        handle = await app.start(greet, "ann", session=caller.session)
        await caller.commit()
        await _watcher(app)._looking
    assert await handle.result(timeout=60) == "hello ann"


def _watcher(app: Any) -> Any:
    store = app._access.opened()
    store = getattr(store, "beneath", store)  # without its codecs
    return store._uncommitted if hasattr(store, "_uncommitted") else store._posted


@pytest.mark.dealt("postgres")
@pytest.mark.backends("postgres")
async def test_a_transaction_in_which_a_statement_has_failed_is_refused(app: Romancy, storage_url: str) -> None:
    for library in ("AsyncSession", "AsyncSession on psycopg", "Connection"):
        async with opened(library, storage_url) as caller:
            with pytest.raises(ProgrammingError):
                await caller.write("x'), (nothing) --")
            with pytest.raises(UsageError, match="a statement has failed"):
                await app.start(greet, "ann", session=caller.session)
            await caller.roll_back()


@pytest.mark.backends("postgres")
async def test_a_connection_of_psycopg_without_a_transaction(app: Romancy, storage_url: str) -> None:
    dsn = sqlalchemy_url(storage_url, "psycopg").set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as connection:
        with pytest.raises(UsageError, match="without a transaction"):
            await app.start(greet, "ann", session=connection)
        with connection.transaction():
            handle = await app.start(greet, "ann", session=connection)
        assert await handle.result(timeout=60) == "hello ann"
    with pytest.raises(UsageError, match="it is closed"):
        await app.start(greet, "ann", session=connection)


@pytest.mark.backends("sqlite")
async def test_a_connection_of_another_thread_is_refused(app: Romancy, storage_url: str) -> None:
    path = sqlalchemy_url(storage_url, "x").database or ""
    with ThreadPoolExecutor(1) as thread:
        connection = thread.submit(sqlite3.connect, path).result()
        with pytest.raises(UsageError, match="cannot be used here"):
            await app.start(greet, "ann", session=connection)
        thread.submit(connection.close).result()
