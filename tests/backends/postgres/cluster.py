"""A primary and its synchronous standby, on private servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from romancy_conformance.servers.postgres import PostgresServer

__all__ = ["Cluster"]


class Cluster:
    """Two servers. `primary` takes writes, and `standby` has every commit that was acknowledged."""

    def __init__(self, primary: PostgresServer, standby: PostgresServer) -> None:
        """The primary runs already, and has run for a moment only. The standby was never started."""
        self.primary = primary
        self.standby = standby
        standby.follow(primary)

    async def start(self) -> str:
        """Start the standby, make it synchronous, and return the URL of a new database with both hosts."""
        await asyncio.to_thread(self.standby.start)
        await self.ask(self.primary, "alter system set synchronous_standby_names = 'standby'")
        await self.ask(self.primary, "select pg_reload_conf()")
        await self._until(self.primary, "select count(*) from pg_stat_replication where sync_state = 'sync'")
        url = await asyncio.to_thread(self.primary.fresh_database)
        await self._until(
            self.standby,
            f"select count(*) from pg_database where datname = '{urlsplit(url).path[1:]}'",  # noqa: S608 - our own name
        )
        return self.url(url, self.primary, self.standby)

    async def promote(self) -> None:
        """Make the standby the primary, which does without another one."""
        assert await self.ask(self.standby, "select pg_promote()")

    async def _until(self, server: PostgresServer, count: str) -> None:
        async with asyncio.timeout(30):
            while not await self.ask(server, count):  # noqa: ASYNC110 - another server changes
                await asyncio.sleep(0.05)

    @staticmethod
    def url(url: str, *servers: PostgresServer) -> str:
        """The URL with these servers as its hosts."""
        parts = urlsplit(url)
        account = parts.netloc.rpartition("@")[0]
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        return parts._replace(netloc=f"{account}@{hosts}").geturl()

    @staticmethod
    async def ask(server: PostgresServer, statement: str) -> object:
        """The first value of the answer of one server."""
        answer: object = await asyncio.to_thread(server.access.fetch, statement)
        return answer
