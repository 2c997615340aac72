"""Connections: how they are made and set up, what a broken or cancelled one leaves behind, and which calls wait."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import StorageConfigurationError, StorageUnavailableError
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import Actor, append, change, start, step, unique
from romancy_conformance.contract.fire.program import insist
from romancy_mysql._connection import Wire
from romancy_mysql._errors import ConnectionLostError
from romancy_mysql._sql import literal
from romancy_mysql.engines import as_node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_conformance.proxy import Proxy
    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]


_OTHERS = b"select id from information_schema.processlist where db = database() and id <> connection_id()"
_OPEN_TRANSACTIONS = (
    "select count(*) from information_schema.innodb_trx t join information_schema.processlist p "
    "on p.id = t.trx_mysql_thread_id where p.db = database() and p.id <> connection_id()"
)
_WAITING_FOR_LOCKS = f"{_OPEN_TRANSACTIONS} and t.trx_state = 'LOCK WAIT'"


async def ask(wire: Wire, sql: str) -> Any:
    """Return the first column of the first row."""
    answers = await wire.run(sql.encode(), "test")
    return answers[-1].rows[0][0]


async def test_a_session_is_set_up_as_statements_need_it(wire: Wire) -> None:
    """Whatever the server's defaults: READ COMMITTED, strict, UTC, short lock waits, full Unicode."""
    isolation = "@@transaction_isolation" if "MariaDB" not in wire.server_version else "@@tx_isolation"
    mode = (await ask(wire, "select @@sql_mode")).split(",")

    assert await ask(wire, f"select {isolation}") == "READ-COMMITTED"
    assert "STRICT_TRANS_TABLES" in mode
    assert "NO_BACKSLASH_ESCAPES" not in mode
    assert await ask(wire, "select @@time_zone") == "+00:00"
    assert await ask(wire, "select @@innodb_lock_wait_timeout") == 1
    assert await ask(wire, "select @@character_set_client") == "utf8mb4"
    assert await ask(wire, "select @@wait_timeout") == 60
    assert await ask(wire, "select @@autocommit") == 1


async def test_setting_up_costs_one_round_trip(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    packets: list[bytes] = []
    run = Wire.run

    async def counting(self: Wire, packet: bytes, what: str) -> object:
        packets.append(packet)
        return await run(self, packet, what)

    monkeypatch.setattr(Wire, "run", counting)
    await wire.setup()

    assert len(packets) == 1


async def test_a_reset_forgets_what_a_user_did(wire: Wire) -> None:
    await wire.run(b"set @mine = 5; set session sql_mode = ''; set session time_zone = '+09:00'", "test")
    await wire.run(b"create temporary table left_over (n integer)", "test")

    await wire.reset()

    assert await ask(wire, "select @mine") is None
    assert await ask(wire, "select @@time_zone") == "+00:00"
    assert "STRICT_TRANS_TABLES" in await ask(wire, "select @@sql_mode")
    with pytest.raises(StorageConfigurationError, match="a table is missing"):
        await wire.run(b"select * from left_over", "test")


async def test_a_connection_to_a_node_of_a_cluster_is_not_reset(wire: Wire) -> None:
    """MariaDB would forget that it has to wait for the other nodes. `tests/engines/test_galera.py` has some."""
    wire.engine = as_node(wire.engine)

    await wire.reset()

    assert wire.tainted, "it was dropped"
    assert wire.gone


async def test_the_next_session_meets_nothing_of_the_last_one(open_store: Open) -> None:
    store = await open_store("pool_size=3")  # one connection for sessions
    async with store.services.sessions.begin() as session:
        await session.execute("set @mine = 5, sql_mode = ''")
        (first,) = await session.fetch_all("select connection_id() as id")

    async with store.services.sessions.begin() as session:
        (second,) = await session.fetch_all("select connection_id() as id, @mine as mine, @@sql_mode as mode")

    assert second["id"] == first["id"]
    assert second["mine"] is None
    assert "STRICT_TRANS_TABLES" in second["mode"]


@pytest.mark.parametrize("tls", ["prefer", "require"])
async def test_tls_is_used_where_it_is_wanted(open_store: Open, backend: str, tls: str) -> None:
    if tls == "require" and not await has_tls(open_store, backend):
        with pytest.raises(StorageConfigurationError, match="has no TLS, which tls=require asks for"):
            await open_store("tls=require")
        return
    store = await open_store(f"tls={tls}")
    async with store.services.sessions.begin() as session:
        (row,) = await session.fetch_all("show session status like 'Ssl_cipher'")

    assert bool(row["Value"]) is (tls == "require")


async def has_tls(open_store: Open, backend: str) -> bool:
    """MySQL makes its own certificate, and so does MariaDB from 11.4 on; an older one only with a given one."""
    if backend == "mysql":
        return True
    store = await open_store("tls=off")
    async with store.services.sessions.begin() as session:
        (row,) = await session.fetch_all("select @@have_ssl as has")
    return bool(row["has"] == "YES")


async def test_a_certificate_of_an_unknown_authority_is_refused(open_store: Open, backend: str) -> None:
    expected = "TLS failed" if await has_tls(open_store, backend) else "has no TLS"

    with pytest.raises(StorageConfigurationError, match=expected):
        await open_store("tls=verify")


async def test_a_certificate_file_that_is_none_is_named(open_store: Open) -> None:
    with pytest.raises(StorageConfigurationError, match="a certificate file cannot be used"):
        await open_store("tls=verify&tls_ca=/no/such/file.pem")


async def test_a_wrong_password_says_so_without_saying_it(open_store: Open, storage_url: str) -> None:
    head, _, tail = storage_url.rpartition("@")
    scheme, _, account = head.partition("://")
    url = f"{scheme}://{account.partition(':')[0]}:not-the-password@{tail}"

    with pytest.raises(StorageConfigurationError, match="user or password is wrong") as caught:
        await open_store(url=url)

    assert "not-the-password" not in str(caught.value)


async def test_a_missing_database_says_so(open_store: Open, storage_url: str) -> None:
    with pytest.raises(StorageConfigurationError, match="there is no such database"):
        await open_store(url=storage_url + "_which_is_not_there")


async def test_an_address_without_a_server_is_unavailable(open_store: Open, storage_url: str) -> None:
    head, _, tail = storage_url.rpartition(":")
    url = f"{head}:1/{tail.partition('/')[2]}"

    with pytest.raises(StorageUnavailableError, match="cannot be reached"):
        await open_store(url=url)


async def test_a_cancelled_call_leaves_no_connection_in_doubt(store: MySQLStore, actor: Actor, wire: Wire) -> None:
    """F8: cancelled at any moment, no transaction stays open and the pool continues to work."""
    begun = [await actor.begin() for _ in range(3)]
    batch = [append(one, 2, change=change()) for one in begun]
    for attempt in range(60):
        call = asyncio.create_task(store.commit(batch, worker=actor.token))
        await asyncio.sleep(attempt * 0.0001)
        call.cancel()
        await asyncio.wait({call})

    assert await store.commit(batch, worker=actor.token) == [Outcome.ACCEPTED] * 3
    async with asyncio.timeout(60):
        while await ask(wire, _OPEN_TRANSACTIONS):  # noqa: ASYNC110 - asked of the server
            await asyncio.sleep(0.2)  # MariaDB shows a copy that it renews only if nobody has read it for 0.1 s


async def test_connections_the_server_ended_are_replaced_silently(store: MySQLStore, actor: Actor, wire: Wire) -> None:
    begun = await actor.begin()
    await asyncio.gather(*(store.read(begun.instance_id) for _ in range(8)))
    await _kill_others(wire)

    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED
    assert (await store.heartbeat(actor.worker)).alive


async def test_sessions_never_take_the_last_connections(open_store: Open) -> None:
    """F9: with all sessions in use, commits, reads and heartbeats work; one session too many raises an error."""
    store = await open_store("pool_size=3&pool_timeout=0.3")
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    async with store.services.sessions.begin():
        with pytest.raises(StorageUnavailableError, match="pool_size"):
            await store.services.sessions.begin().__aenter__()
        begun = await actor.begin()
        assert await store.read(begun.instance_id) is not None
        assert (await store.heartbeat(actor.worker)).alive

    async with store.services.sessions.begin() as session:
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED


async def test_many_sessions_wait_their_turn(open_store: Open) -> None:
    store = await open_store("pool_size=3")

    async def one() -> Outcome:
        async with store.services.sessions.begin() as session:
            await session.fetch_all("select 1")
            return await session.commit(start())

    assert await asyncio.gather(*(one() for _ in range(40))) == [Outcome.ACCEPTED] * 40


async def test_calls_in_flight_fail_when_the_store_is_closed(open_store: Open, wire: Wire) -> None:
    store = await open_store("pool_size=3")  # one connection for all statements
    async with store.database.work.borrow() as patient:
        await patient.run(b"set session innodb_lock_wait_timeout = 60", "test")
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun = await actor.begin()
    await wire.run(b"start transaction", "test")
    held = b"insert into romancy_log (instance_id, life, seq, writer, body, at) values ('%b', %d, 2, 'w', '[]', 1)"
    await wire.run(held % (begun.instance_id.encode(), begun.life), "test")
    blocked: asyncio.Task[Any] = asyncio.create_task(actor.write(step(begun, 2)))
    waiting: asyncio.Task[Any] = asyncio.create_task(store.wait_for_work(60))
    async with asyncio.timeout(60):
        # InnoDB updates what it reports of this ten times a second at most.
        while not await ask(wire, _WAITING_FOR_LOCKS):  # noqa: ASYNC110
            await asyncio.sleep(0.2)

    await store.close()

    for task in (blocked, waiting):
        with pytest.raises(StorageUnavailableError):
            await asyncio.wait_for(task, 30)


async def test_a_server_that_stops_answering_is_unavailable(
    open_store: Open, proxy_for: Callable[[str], Proxy], storage_url: str
) -> None:
    """F18: no data arrives and no error; the call ends nevertheless, and the store continues to work."""
    proxy = proxy_for(storage_url)
    store = await open_store("timeout=2.5&connect_timeout=2.5", url=proxy.url(storage_url))
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun = await actor.begin()
    item = step(begun, 2)
    proxy.black_hole()

    async with asyncio.timeout(60):
        with pytest.raises(StorageUnavailableError):
            await actor.write(item)

    proxy.heal()
    proxy.cut()
    assert await insist(lambda: actor.write(item)) is Outcome.ACCEPTED


async def test_a_heartbeat_does_not_hang_for_the_whole_lease(
    open_store: Open, proxy_for: Callable[[str], Proxy], storage_url: str
) -> None:
    proxy = proxy_for(storage_url)
    store = await open_store("timeout=16&connect_timeout=16", url=proxy.url(storage_url))
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    proxy.black_hole()
    asked = time.monotonic()

    with pytest.raises(StorageUnavailableError):
        await store.heartbeat(actor.worker)

    assert time.monotonic() - asked < 15


async def test_a_server_whose_packets_are_too_small_is_refused(
    wire: Wire, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = await ask(wire, "select @@global.max_allowed_packet")
    monkeypatch.setattr("romancy_mysql._database._SMALLEST_PACKET", allowed + 1)
    with pytest.raises(StorageConfigurationError, match=f"max_allowed_packet is {allowed:,}"):
        await open_store()


async def test_an_answer_that_is_cut_is_told_from_an_error(wire: Wire) -> None:
    with pytest.raises(ConnectionLostError, match="the connection broke during test"):
        await wire.run(b"kill connection_id()", "test")
    assert wire.gone


@pytest.mark.backends("mariadb")
async def test_a_temporary_table_that_another_server_deletes_is_the_servers_trouble(wire: Wire) -> None:
    """Error 6, which is why two servers must not share a tmpdir: not Romancy's fault, and the connection is good."""
    folder = Path(str(await ask(wire, "select @@tmpdir")))
    if not _is_here(folder):
        pytest.skip("capability: the server is on another machine")
    mine = f"#sql-temptable-*-{await ask(wire, 'select hex(connection_id())')}-*".lower()
    large = b"select sleep(2) from (select repeat('x', 70000) as a union all select 'y') v where a <> ''; select 2"
    asking = asyncio.create_task(wire.run(b"select 1; " + large, "test"))
    while not asking.done() and not _delete(folder, mine):  # noqa: ASYNC110 - nobody tells of a file
        await asyncio.sleep(0.01)

    with pytest.raises(StorageUnavailableError, match=r"no other server has the same tmpdir \(error 6 in test\)"):
        await asking

    assert await ask(wire, "select 3") == 3


def _is_here(folder: Path) -> bool:
    return folder.is_dir()


def _delete(folder: Path, pattern: str) -> int:
    """Return the number of deleted files."""
    files = list(folder.glob(pattern))
    for file in files:
        file.unlink()
    return len(files)


async def _kill_others(wire: Wire) -> None:
    """End every other connection to the database, as an administrator or a proxy may."""
    (answer,) = await wire.run(_OTHERS, "test")
    killed = {one for (one,) in answer.rows}
    for one in killed:
        await wire.run(b"kill %d" % one, "test")
    async with asyncio.timeout(60):
        while not killed.isdisjoint(one for (one,) in (await wire.run(_OTHERS, "test"))[0].rows):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_running_statement_with_odd_bytes_can_be_listed(wire: Wire, open_store: Open) -> None:
    """MySQL's list of statements has only characters of the basic plane, and no invalid bytes."""
    store = await open_store()
    odd = literal("😀".encode() + bytes(range(128, 256)))
    list_them = b"select left(info, 27) from information_schema.processlist where info like 'select sleep(3), %'"
    async with store.database.work.borrow() as other:
        running = asyncio.create_task(wire.run(b"select sleep(3), " + odd, "test"))
        listed: set[str] = set()
        while not listed and not running.done():
            await asyncio.sleep(0.02)
            *_, answer = await other.run(list_them, "test")
            listed = {str(line[0]) for line in answer.rows}

    assert listed == {"select sleep(3), x'f09f9880"}
    await running
