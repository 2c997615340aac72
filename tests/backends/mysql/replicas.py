"""A primary and its replica on private servers of MySQL or MariaDB, with the replication that people run: GTIDs.

The two products have the same procedures under other names. A semi-synchronous commit is acknowledged once the replica
has it in its log, and becomes visible to others only then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from romancy_conformance.servers import Kind, private_server
from romancy_conformance.servers.mysql import MySQLServer
from romancy_conformance.servers.server import USER

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Replicas"]

_FOREVER = 86_400_000
"""Milliseconds. Without a replica, commits wait so long. After it they would be acknowledged without one."""


class _Words(NamedTuple):
    """The statements of one product."""

    follow: str
    start: str
    receives_no_more: str
    applied: str
    """Returns something true once the replica has carried out all that it has received."""
    forget: Sequence[str]
    waits_on_the_primary: Sequence[str]
    answers_on_the_replica: str
    attached: str
    """Counts the semi-synchronous replicas of the primary."""


_OF_MYSQL = _Words(
    follow="change replication source to source_host = '127.0.0.1', source_port = {port}, source_user = '{user}', "
    "source_password = '{password}', source_auto_position = 1, source_ssl = 1, source_connect_retry = 1",
    start="start replica",
    receives_no_more="stop replica io_thread",
    applied="select 1 - wait_for_executed_gtid_set(received_transaction_set, 1) "
    "from performance_schema.replication_connection_status",
    forget=("stop replica", "reset replica all", "set global super_read_only = 0", "set global read_only = 0"),
    waits_on_the_primary=(
        f"set global rpl_semi_sync_source_timeout = {_FOREVER}",
        "set global rpl_semi_sync_source_wait_point = AFTER_SYNC",
        "set global rpl_semi_sync_source_enabled = 1",
    ),
    answers_on_the_replica="set global rpl_semi_sync_replica_enabled = 1",
    attached="select variable_value + 0 from performance_schema.global_status "
    "where variable_name = 'Rpl_semi_sync_source_clients'",
)
_OF_MARIADB = _Words(
    follow="change master to master_host = '127.0.0.1', master_port = {port}, master_user = '{user}', "
    "master_password = '{password}', master_use_gtid = slave_pos, master_connect_retry = 1",
    start="start slave",
    receives_no_more="stop slave io_thread",
    applied="select count(*) from information_schema.processlist where state like 'Slave has read all relay log%'",
    forget=("stop slave", "reset slave all", "set global read_only = 0"),
    waits_on_the_primary=(
        f"set global rpl_semi_sync_master_timeout = {_FOREVER}",
        "set global rpl_semi_sync_master_wait_point = AFTER_SYNC",
        "set global rpl_semi_sync_master_enabled = 1",
    ),
    answers_on_the_replica="set global rpl_semi_sync_slave_enabled = 1",
    attached="select variable_value + 0 from information_schema.global_status "
    "where variable_name = 'Rpl_semi_sync_master_clients'",
)


class Replicas:
    """Two servers. `primary` takes writes, and `replica` follows it."""

    def __init__(self, kind: Kind) -> None:
        """`ServerUnavailableError` if there is no program of this kind."""
        self._words = _OF_MYSQL if kind is Kind.MYSQL else _OF_MARIADB
        self.primary, self.replica = self._server(kind, 1), self._server(kind, 2)

    @staticmethod
    def _server(kind: Kind, number: int) -> MySQLServer:
        server = private_server(kind)
        assert isinstance(server, MySQLServer)
        server.replicate(number)
        return server

    def close(self) -> None:
        """End both servers."""
        self.primary.close()
        self.replica.close()

    async def start(self, *, synchronous: bool) -> str:
        """Start both, and return the URL of a new database with both hosts."""
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in (self.primary, self.replica)))
        access, words = self.primary.access, self._words
        source = words.follow.format(port=self.primary.port, user=USER, password=access.password)
        before = (words.answers_on_the_replica,) if synchronous else ()
        await self.tell(self.replica, *before, source, words.start)
        await self.tell(self.primary, "set global read_only = 0")
        if synchronous:
            await self._until(self.primary, words.attached)
            await self.tell(self.primary, *words.waits_on_the_primary)
        url = await asyncio.to_thread(self.primary.fresh_database)
        name = urlsplit(url).path[1:]
        there = f"select count(*) from information_schema.schemata where schema_name = '{name}'"  # noqa: S608 - our own
        await self._until(self.replica, there)
        return self.url(url, self.primary, self.replica)

    async def fall_behind(self) -> None:
        """Let the replica receive nothing more."""
        await self.tell(self.replica, self._words.receives_no_more)

    async def promote(self) -> None:
        """Make the replica the primary, once it has carried out all that it has received."""
        await self.tell(self.replica, self._words.receives_no_more)
        await self._until(self.replica, self._words.applied)
        await self.tell(self.replica, *self._words.forget)

    @staticmethod
    def url(url: str, *servers: MySQLServer) -> str:
        """The URL with these servers as its hosts. They have the account of the first primary."""
        parts = urlsplit(url)
        account = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{account}@{','.join(f'127.0.0.1:{one.port}' for one in servers)}").geturl()

    @staticmethod
    async def tell(server: MySQLServer, *statements: str) -> None:
        """Have one server carry out statements of the administrator."""
        for statement in statements:
            await asyncio.to_thread(server.access.fetch, statement)

    async def _until(self, server: MySQLServer, count: str) -> None:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(server.access.fetch, count):  # noqa: ASYNC110 - another server changes
                await asyncio.sleep(0.05)
