"""Changes in the database itself, as a person or a broken disk might make them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from romancy.engine import coded
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import PruneRequest
from romancy.storage.services import Service
from romancy_conformance.contract.building import start
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.serialization import Codecs
    from romancy.storage.protocol import Store


__all__ = ["damage", "opened", "sql_on"]


@asynccontextmanager
async def sql_on(url: str) -> AsyncGenerator[Callable[..., Awaitable[list[Any]]]]:
    """Run statements on the database itself, `{}` for each value, as a person or a broken disk might change it."""
    store = create_store(url)
    await store.open()
    try:
        if not store.capabilities.sql:
            pytest.skip("capability: no SQL in sessions")
        mark = store.capabilities.placeholder
        async with store.services.sessions.begin() as session:

            async def run(sql: str, *values: object) -> list[Any]:
                marks = [mark.replace("1", str(number)) for number, _ in enumerate(values, 1)]
                statement = sql.format(*marks)
                if sql.startswith("select"):
                    return list(await session.fetch_all(statement, *values))
                await session.execute(statement, *values)
                return []

            yield run
            assert await session.commit(start()) == "accepted"
    finally:
        await store.close()


@asynccontextmanager
async def opened(url: str, codecs: Codecs | None = None) -> AsyncGenerator[Store]:
    """The store of an app that may be closed, from which instances are made again."""
    store = create_store(url)
    services_with(Service.REBUILDING, store)
    store = store if codecs is None else coded(store, codecs)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def damage(store: Store, *statements: str) -> None:
    """Change the database itself, as a person or a broken disk might."""
    if not store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    end = start(status=Status.COMPLETED, delay=None)
    async with store.services.sessions.begin() as session:
        for one in statements:
            await session.execute(one)
        assert await session.commit(end) == "accepted"
    assert 1 == await store.services.upkeep.prune(PruneRequest(instance_ids=(end.instance_id,)))
