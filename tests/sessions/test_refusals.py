"""What cannot be joined is refused by name, before anything is written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from romancy import Romancy, UsageError
from romancy_conformance.servers import Kind
from tests.sessions.libraries import DRIVERS, kind_of, opened, sqlalchemy_url
from tests.sessions.workflows import greet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", *Kind)]


@pytest.fixture
async def app(storage_url: str) -> AsyncIterator[Romancy]:
    async with Romancy(storage_url, workflows=[greet]) as app:
        yield app


async def refused(app: Romancy, session: object, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        await app.start(greet, "ann", session=session)
    with pytest.raises(UsageError, match=why):
        await app.publish("greeted", "ann", session=session)
    assert (await app.list_instances()).instances == []


async def test_an_engine_is_refused(app: Romancy, storage_url: str) -> None:
    awaits, blocks = DRIVERS[kind_of(storage_url)]
    for engine in (
        create_async_engine(sqlalchemy_url(storage_url, awaits)),
        create_engine(sqlalchemy_url(storage_url, blocks)),
    ):
        await refused(app, engine, f"takes an AsyncSession.*not {type(engine).__name__}")
    await refused(app, sessionmaker(), "takes an AsyncSession.*not sessionmaker")


async def test_a_session_without_an_engine_is_refused(app: Romancy) -> None:
    await refused(app, Session(), "without an engine")


async def test_a_connection_that_commits_by_itself_is_refused(app: Romancy, storage_url: str) -> None:
    awaits, blocks = DRIVERS[kind_of(storage_url)]
    one = create_async_engine(sqlalchemy_url(storage_url, awaits), isolation_level="AUTOCOMMIT")
    async with AsyncSession(one) as session:
        await refused(app, session, "transaction")
    await one.dispose()
    two = create_engine(sqlalchemy_url(storage_url, blocks), isolation_level="AUTOCOMMIT")
    with two.connect() as connection:
        await refused(app, connection, "transaction")
    two.dispose()


async def test_a_closed_connection_is_refused(app: Romancy, storage_url: str) -> None:
    engine = create_engine(sqlalchemy_url(storage_url, DRIVERS[kind_of(storage_url)][1]))
    connection = engine.connect()
    connection.close()
    await refused(app, connection, "cannot be used")
    engine.dispose()


async def test_a_start_joins_a_session_after_a_failed_flush(app: Romancy, storage_url: str) -> None:
    async with opened("Session", storage_url) as caller:
        await caller.write("ann")
        nested = caller.session.begin_nested()
        with pytest.raises(IntegrityError):
            await caller.write("ann")
        nested.rollback()
        handle = await app.start(greet, "ann", session=caller.session)
        await caller.commit()
    assert await handle.result(timeout=60) == "hello ann"


@pytest.mark.dealt("sqlite", "postgres")
async def test_a_session_of_another_database_is_refused(app: Romancy, storage_url: str, tmp_path: Path) -> None:
    if kind_of(storage_url) == "mysql":
        pytest.skip("capability: tables are named with their database")
    awaits, _ = DRIVERS[kind_of(storage_url)]
    url = sqlalchemy_url(storage_url, awaits)
    options: dict[str, Any] = {}
    if kind_of(storage_url) == "sqlite":
        url = url.set(database=str(tmp_path / "other.db"))
    else:
        options = {"connect_args": {"server_settings": {"search_path": "pg_temp"}}}
    engine = create_async_engine(url, **options)
    async with AsyncSession(engine) as session:
        await refused(app, session, "to another database")
    await engine.dispose()


async def test_the_synchronous_side_of_an_asynchronous_session_is_refused(app: Romancy, storage_url: str) -> None:
    async with opened("AsyncSession", storage_url) as caller:
        await refused(app, caller.session.sync_session, "give the asynchronous one")


async def test_a_start_joins_scoped_sessions(app: Romancy, storage_url: str) -> None:
    awaits, blocks = DRIVERS[kind_of(storage_url)]
    one = create_async_engine(sqlalchemy_url(storage_url, awaits))
    awaited = async_scoped_session(async_sessionmaker(one), scopefunc=asyncio.current_task)
    first = await app.start(greet, "ann", session=awaited)
    await awaited.commit()
    assert await first.result(timeout=60) == "hello ann"
    await awaited.remove()
    await one.dispose()

    two = create_engine(sqlalchemy_url(storage_url, blocks))
    blocking = scoped_session(sessionmaker(two))
    second = await app.start(greet, "bob", session=blocking)
    blocking.commit()
    assert await second.result(timeout=60) == "hello bob"
    blocking.remove()
    two.dispose()


async def test_a_start_in_a_savepoint_that_is_undone_is_undone(app: Romancy, storage_url: str) -> None:
    async with opened("AsyncSession", storage_url) as caller:
        await caller.write("ann")
        kept = await app.start(greet, "ann", session=caller.session)
        nested = await caller.session.begin_nested()
        dropped = await app.start(greet, "bob", session=caller.session)
        await nested.rollback()
        await caller.session.execute(text("select 1"))
        await caller.commit()

        assert await kept.result(timeout=60) == "hello ann"
        assert await app.get_instance(dropped.instance_id) is None
