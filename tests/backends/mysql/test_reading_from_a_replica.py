"""`read_url=`: lists, searches and counts on a replica, which says how far it is behind."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from romancy import ReadLag, Romancy, WorkflowContext, workflow
from romancy.errors import StorageConfigurationError
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.proxy import Proxy
from romancy_conformance.servers import Kind, ServerUnavailableError
from romancy_conformance.servers.plugin import do_without
from romancy_mysql._standby import count_of_each
from romancy_mysql._store import MySQLStore
from romancy_mysql.engines import tidb, vitess
from tests.backends.mysql.replicas import Replicas

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy_mysql.engines import Engine

SOURCE = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


@workflow
async def listed(ctx: WorkflowContext, number: int) -> int:
    return number


@asynccontextmanager
async def copied(kind: Kind) -> AsyncGenerator[tuple[Replicas, str, str]]:
    """A primary and its replica, with the URL of each."""
    try:
        both = Replicas(kind)
    except ServerUnavailableError as error:
        do_without(kind, error)
    try:
        url = await both.start(synchronous=False)
        yield both, both.url(url, both.primary), both.url(url, both.replica)
    finally:
        both.close()


async def caught_up(app: Romancy) -> ReadLag:
    """Return how far the replica is behind once it is not."""
    lags: list[ReadLag] = []

    async def so() -> bool:
        lag = await app.read_lag()
        lags.extend([] if lag is None else [lag])
        return lag is not None and lag.transactions == 0

    await until(so)
    return lags[-1]


@pytest.mark.anyio
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [Kind.MYSQL, Kind.MARIADB])
async def test_lists_show_what_the_replica_has_and_say_how_far_it_is_behind(kind: Kind) -> None:
    async with copied(kind) as (both, url, read_url):
        parts = urlsplit(read_url)
        with Proxy(parts.hostname or "", parts.port or 0) as proxy:
            async with Romancy(url, workflows=[listed], read_url=proxy.url(read_url)) as app:
                assert await app.run(listed, 1) == 1
                assert await caught_up(app) == ReadLag(seconds=0.0, bytes=None, transactions=0)
                assert int(await app.count()) == 1

                await both.fall_behind()
                assert await (await app.start(listed, 2)).result() == 2  # the engine reads from the primary
                assert (int(await app.count()), len((await app.find_instances({"number": 2})).instances)) == (1, 0)
                lag = await app.read_lag()
                assert lag is not None
                assert lag.transactions is not None
                assert lag.transactions >= 1
                assert (lag.seconds is not None) == (kind is Kind.MYSQL)
                assert re.search(rf"{lag.transactions:,} transactions?\b", str(lag))

                proxy.refuses = True
                proxy.cut()
                assert int(await app.count()) == 2
                lag = await app.read_lag()
                assert lag is not None
                assert lag.away

        other = await asyncio.to_thread(both.primary.fresh_database)
        async with Romancy(other, workflows=[listed]):
            pass
        with pytest.raises(StorageConfigurationError, match=r"read_url=.* this is no copy of the database"):
            async with Romancy(url, workflows=[listed], read_url=other, worker=False):
                pass


@pytest.mark.anyio
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [Kind.MYSQL, Kind.MARIADB])
async def test_an_account_that_may_only_read_is_enough_for_lists(kind: Kind) -> None:
    """It may not look into performance_schema, so MySQL does not tell it how old the last transaction is."""
    async with copied(kind) as (both, url, read_url):
        parts = urlsplit(read_url)
        await both.tell(
            both.primary,
            "create user lister identified by 'reads'",
            f"grant select on {parts.path[1:]}.* to lister",
        )
        reading = parts._replace(netloc=f"lister:reads@127.0.0.1:{parts.port}").geturl()
        async with Romancy(url, workflows=[listed], read_url=reading) as app:
            await app.run(listed, 1)
            await caught_up(app)
            await both.fall_behind()
            await app.run(listed, 2)
            assert int(await app.count()) == 1
            lag = await app.read_lag()
            assert lag is not None
            assert (lag.seconds, lag.away) == (None, "")
            assert lag.transactions is not None
            assert re.fullmatch(rf"read from a standby, {lag.transactions:,} transactions? behind", str(lag))


@pytest.mark.anyio
@pytest.mark.parametrize("engine", [tidb.ENGINE, vitess.ENGINE], ids=lambda engine: engine.product)
async def test_what_keeps_copies_by_itself_is_refused_by_name(engine: Engine) -> None:
    store = create_store("mysql://me:secret@127.0.0.1:9/shop")
    assert isinstance(store, MySQLStore)
    store.database.engine = engine
    with pytest.raises(StorageConfigurationError, match=f"read_url= does not work on {engine.product}") as refused:
        await store.services.standby.standing()
    assert "secret" not in str(refused.value)


def test_transactions_are_counted_by_their_origin() -> None:
    assert count_of_each("") == {}
    assert count_of_each(f"{SOURCE}:1-5:7:11-18,\n{SOURCE[:-1]}3:1") == {SOURCE: 14, f"{SOURCE[:-1]}3": 1}
    assert count_of_each(f"{SOURCE}:1-3:tagged:11:47-49") == {SOURCE: 3, f"{SOURCE}:tagged": 4}
