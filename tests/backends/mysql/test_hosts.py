"""Several hosts in a URL: the one that takes writes is used, also after it has changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.errors import StorageConfigurationError, StorageUnavailableError
from romancy.storage.backends import create_store
from romancy.storage.hosts import Host
from romancy.storage.records import Outcome
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import start
from romancy_conformance.servers import Kind, private_server
from romancy_mysql._settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.servers import Server

pytestmark = pytest.mark.anyio

_MODES = ("off_permissive", "on_permissive", "on")

A, B = Host("a", 3306), Host("b", 3307)


def test_several_hosts_are_read_with_their_ports() -> None:
    read = read_settings(parse_url("mysql://me:hunter2@a,b:3307/orders"))

    assert read.hosts == (A, B)
    assert (read.at(B).host, read.at(B).port, read.at(B).where) == ("b", 3307, "b:3307")
    assert read.where == "mysql://me:***@a,b:3307/orders"


def test_one_host_is_no_list() -> None:
    assert read_settings(parse_url("mysql://me@a/orders")).hosts == ()


def test_a_socket_beside_several_hosts_is_refused() -> None:
    with pytest.raises(StorageConfigurationError, match="socket='/run/x' is given beside a list of hosts"):
        read_settings(parse_url("mysql://me@a,b/orders?socket=/run/x"))


@workflow
async def primary_seven(ctx: WorkflowContext) -> int:
    return 7


class Pair:
    """Two servers with a database of one name, for an account that a read-only server lets write nothing."""

    def __init__(self, one: Server, other: Server) -> None:
        self.one, self.other = one, other
        for server in (one, other):
            server.create_database("orders")
            server.access.fetch("create user app identified by 'secret'")
            server.access.fetch("grant all on orders.* to app")
            server.access.fetch("set global read_only = 1")

    def url(self, *servers: Server) -> str:
        """The URL with these hosts."""
        scheme = urlsplit(self.one.access.url()).scheme
        return f"{scheme}://app:secret@{','.join(f'127.0.0.1:{server.port}' for server in servers)}/orders"

    async def number(self, server: Server, transactions: int) -> None:
        """Let the server say that it has so many transactions of its own, beside those of its start."""
        if server.kind is Kind.MARIADB:
            await asyncio.to_thread(server.access.fetch, f"set global gtid_slave_pos = '0-9-{transactions}'")
            return
        if await asyncio.to_thread(server.access.fetch, "select @@global.gtid_mode") != "ON":
            for step in ("enforce_gtid_consistency = on", *(f"gtid_mode = {mode}" for mode in _MODES)):
                await asyncio.to_thread(server.access.fetch, f"set global {step}")
        for one in range(transactions):
            await asyncio.to_thread(server.access.fetch, f"create database more_{one}")

    async def put(self, server: Server, *, read_only: bool) -> None:
        """Switch one server."""
        await asyncio.to_thread(server.access.fetch, f"set global read_only = {read_only:d}")


@pytest.fixture(params=["mysql", "mariadb"])
def pair(request: pytest.FixtureRequest, server_for: Callable[[str], Server]) -> Generator[Pair]:
    other = private_server(request.param)
    try:
        one = server_for(request.param)
        other.start()
        yield Pair(one, other)
    finally:
        other.close()


@pytest.mark.long
async def test_the_server_that_takes_writes_is_found(pair: Pair) -> None:
    await pair.put(pair.other, read_only=False)

    async with Romancy(pair.url(pair.one, pair.other), workflows=[primary_seven]) as app:
        assert await (await app.start(primary_seven)).result() == 7


@pytest.mark.long
async def test_the_error_names_every_host_and_why(pair: Pair) -> None:
    pair.other.kill()

    with pytest.raises(StorageUnavailableError) as caught:
        await create_store(pair.url(pair.one, pair.other)).open()

    assert f"(1) 127.0.0.1:{pair.one.port}: it is read_only" in str(caught.value)
    assert f"(2) 127.0.0.1:{pair.other.port}: the server cannot be reached" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.long
async def test_an_open_store_goes_to_the_server_that_takes_writes_now(pair: Pair) -> None:
    await pair.put(pair.other, read_only=False)
    moved = create_store(pair.url(pair.other))
    await moved.open()
    await pair.number(pair.other, 20)  # a replica that has all transactions of the other one
    await pair.put(pair.other, read_only=True)
    await pair.put(pair.one, read_only=False)
    store = create_store(pair.url(pair.one, pair.other))
    await store.open()
    try:
        assert await store.commit([start(), start()]) == [Outcome.ACCEPTED] * 2
        await pair.put(pair.one, read_only=True)
        await pair.put(pair.other, read_only=False)
        item = start()
        await _committed(store, item)
        assert await moved.read(item.instance_id, limit=0) is not None
    finally:
        await store.close()
        await moved.close()


@pytest.mark.long
async def test_a_lost_primary_that_comes_back_is_refused(pair: Pair) -> None:
    """It lacks what the server that took its place has done. A process that starts anew knows nothing of that."""
    for server, transactions in ((pair.other, 2), (pair.one, 9)):
        await pair.put(server, read_only=False)
        alone = create_store(pair.url(server))
        await alone.open()
        await alone.close()
        await pair.number(server, transactions)
    await pair.put(pair.other, read_only=True)
    store = create_store(pair.url(pair.one, pair.other))
    await store.open()
    try:
        await pair.put(pair.one, read_only=True)
        await pair.put(pair.other, read_only=False)
        with pytest.raises(StorageUnavailableError, match=rf"it is behind 127\.0\.0\.1:{pair.one.port}"):
            await _committed(store, start())
        await pair.put(pair.other, read_only=True)
        await pair.put(pair.one, read_only=False)
        await _committed(store, start())
    finally:
        await store.close()


async def _committed(store: Store, item: Append) -> None:
    """Write it, although connections to a server that takes no writes now are still in the pool."""
    for left in range(8, 0, -1):
        try:
            assert await store.commit([item]) == [Outcome.ACCEPTED]
            return
        except StorageUnavailableError:
            if left == 1:
                raise
