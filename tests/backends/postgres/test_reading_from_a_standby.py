"""`read_url=`: lists, searches and counts on a streaming standby, which says how far it is behind."""

from __future__ import annotations

import asyncio
import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from click.testing import CliRunner

from romancy import ReadLag, Romancy, WorkflowContext, http, workflow
from romancy.cli import cli
from romancy.dashboard import asgi
from romancy.errors import StorageConfigurationError
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.proxy import Proxy
from romancy_conformance.servers import private_server
from romancy_conformance.servers.postgres import PostgresServer
from tests.backends.postgres.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]


@workflow
async def listed(ctx: WorkflowContext, number: int) -> int:
    return number


class Copied:
    """A database on a primary and its standby, and what can be done to the standby."""

    def __init__(self, cluster: Cluster, url: str, read_url: str) -> None:
        self.cluster = cluster
        self.url = url
        self.read_url = read_url

    def app(self, *, read_url: str = "", worker: bool = True) -> Romancy:
        return Romancy(self.url, workflows=[listed], read_url=read_url or self.read_url, worker=worker)

    async def pause(self) -> None:
        """The standby applies nothing any more."""
        await self.cluster.ask(self.cluster.standby, "select pg_wal_replay_pause()")

        async def paused() -> bool:
            state = await self.cluster.ask(self.cluster.standby, "select pg_get_wal_replay_pause_state()")
            return state == "paused"

        await until(paused)

    async def has_database(self, name: str) -> bool:
        found = await self.cluster.ask(
            self.cluster.standby,
            f"select count(*) from pg_database where datname = '{name}'",  # noqa: S608 - our own
        )
        return bool(found)

    async def resume(self) -> None:
        await self.cluster.ask(self.cluster.standby, "select pg_wal_replay_resume()")


@pytest.fixture
async def copied(postgres_server: PostgresServer) -> AsyncGenerator[Copied]:
    standby = private_server("postgres")
    assert isinstance(standby, PostgresServer)
    try:
        cluster = Cluster(postgres_server, standby)
        both = await cluster.start()
        url, read_url = cluster.url(both, cluster.primary), cluster.url(both, cluster.standby)
        async with Romancy(url, workflows=[listed]):
            pass  # makes the tables
        yield Copied(cluster, url, read_url)
    finally:
        standby.close()


async def caught_up(app: Romancy) -> ReadLag:
    """Return how far the standby is behind once it is not. A moment later the server may have written again."""
    lags: list[ReadLag] = []

    async def so() -> bool:
        lag = await app.read_lag()
        lags.extend([] if lag is None else [lag])
        return lag is not None and lag.bytes == 0

    await until(so)
    return lags[-1]


async def test_lists_show_what_the_standby_has_and_say_how_far_it_is_behind(copied: Copied) -> None:
    async with copied.app() as app:
        assert await app.run(listed, 1) == 1
        assert await caught_up(app) == ReadLag(seconds=0.0, bytes=0)
        await copied.pause()
        handle = await app.start(listed, 2)
        assert await handle.result() == 2  # the engine reads from the primary

        assert (int(await app.count()), len((await app.list_instances()).instances)) == (1, 1)
        assert len((await app.find_instances({"number": 2})).instances) == 0
        lag = await app.read_lag()
        assert lag is not None
        assert lag.bytes is not None
        assert lag.bytes > 0
        assert lag.seconds is not None
        assert lag.seconds > 0
        assert "behind" in str(lag)

        found = await app.get_instance(handle.instance_id)  # one instance, and what acts, are of the primary
        assert found is not None
        assert await app.purge_many({"number": 2}) == [handle.instance_id]
        await copied.resume()
        await caught_up(app)
        assert int(await app.count()) == 1


async def test_the_primary_is_read_while_the_standby_is_away(copied: Copied, caplog: pytest.LogCaptureFixture) -> None:
    parts = urlsplit(copied.read_url)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        async with copied.app(read_url=proxy.url(copied.read_url)) as app:
            await app.run(listed, 1)
            await caught_up(app)
            await copied.pause()
            await app.run(listed, 2)
            assert int(await app.count()) == 1
            proxy.refuses = True
            proxy.cut()

            with caplog.at_level(logging.WARNING, "romancy"):
                assert int(await app.count()) == 2
                assert int(await app.count()) == 2
            lag = await app.read_lag()
            assert lag is not None
            assert lag.away
            assert str(lag) == "read from the primary, because the standby is away"
            told = [one.getMessage() for one in caplog.records if "read_url" in one.getMessage()]
            assert len(told) == 1
            assert (parts.password or "?") not in caplog.text + lag.away


async def test_an_app_opens_while_the_standby_is_away(copied: Copied) -> None:
    parts = urlsplit(copied.read_url)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        proxy.refuses = True
        async with copied.app(read_url=proxy.url(copied.read_url)) as app:
            await app.run(listed, 1)
            assert int(await app.count()) == 1


async def test_an_app_opens_while_the_standby_has_no_tables_yet(copied: Copied) -> None:
    """The first start of all makes the tables, and a standby gets them a moment later."""
    fresh = await asyncio.to_thread(copied.cluster.primary.fresh_database)
    name = urlsplit(fresh).path
    read_url = urlsplit(copied.read_url)._replace(path=name).geturl()
    await until(partial(copied.has_database, name[1:]))
    await copied.pause()
    async with Romancy(fresh, workflows=[listed], read_url=read_url) as app:
        await app.run(listed, 1)
        assert int(await app.count()) == 1
        lag = await app.read_lag()
        assert lag is not None
        assert "no tables of Romancy yet" in lag.away
        await copied.resume()


async def test_what_is_no_copy_is_refused(copied: Copied) -> None:
    other = await asyncio.to_thread(copied.cluster.primary.fresh_database)
    async with Romancy(other, workflows=[listed]):
        pass
    with pytest.raises(StorageConfigurationError, match=r"read_url=.* this is no copy of the database"):
        async with copied.app(read_url=other, worker=False):
            pass


async def test_a_database_without_standbys_is_refused_by_name(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    with pytest.raises(StorageConfigurationError, match="`read_url=` does not work"):
        async with Romancy(url, read_url=url, workflows=[listed]):
            pass


async def test_pages_commands_and_http_say_it(copied: Copied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with copied.app() as app:
        await app.run(listed, 1)
        await caught_up(app)
        await copied.pause()
        await app.run(listed, 2)
        for page in ("/", "/instances"):
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(asgi(app, auth="local")), base_url="http://localhost"
            ) as web:
                shown = await web.get(page)
            assert shown.status_code == 200
            assert re.search(r"read from a standby, [\d.]+ s \([\d,]+ bytes\) behind", shown.text), page
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(http.asgi(app, auth="local")), base_url="http://localhost"
        ) as web:
            for path in ("/instances", "/count"):
                answer = await web.get(path)
                assert float(answer.headers["romancy-read-lag"]) > 0, path
            assert (await web.get("/count")).json()["count"] == 1

        module = (
            f"from romancy import Romancy\napp = Romancy({copied.url!r}, read_url={copied.read_url!r}, workflows=[])\n"
        )
        (tmp_path / "standby_shop.py").write_text(module, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        said = await asyncio.to_thread(CliRunner().invoke, cli, ["count", "--app", "standby_shop:app"])
        assert said.exit_code == 0, said.output
        assert "1 instance\n" in said.output
        assert re.search(r"read from a standby, [\d.]+ s .* behind", said.output)
        await copied.resume()


async def test_the_standby_is_not_listened_to(copied: Copied) -> None:
    async with copied.app() as app:
        await app.count()
        standby = await asyncpg.connect(copied.read_url)
        rows = await standby.fetch("select query from pg_stat_activity where query ilike 'listen%'")
        await standby.close()
        assert rows == []
