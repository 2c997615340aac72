"""Unusable servers: the store reports them at once, with advice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.url import parse_url
from romancy_postgres._server import Server, check_server
from romancy_postgres._settings import read_settings
from romancy_postgres.engines import PLAIN, citus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import asyncpg

    from romancy_postgres._database import Database
    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]

pytestmark = pytest.mark.anyio

TOO_OLD = r"PostgreSQL 12\.22 is too old; upgrade the server, or name another one in the URL: 13 or newer is needed"
PLPGSQL: Final = {"plpgsql": "1.0"}
NOT_UNICODE = r"encoded in LATIN1; create one with ENCODING 'UTF8' TEMPLATE template0"


class Answering:
    """A server that reports this version and these settings."""

    def __init__(
        self, *answer: object, fsync: str = "on", extensions: Mapping[str, str] = PLPGSQL, options: str = ""
    ) -> None:
        self.settings = read_settings(parse_url("postgresql://me:hunter2@db.example/orders" + options))
        self.asked: list[str] = []
        self._answer = (*answer, fsync, [list(one) for one in extensions.items()])
        self.dropped: set[str] = set()

    async def fetch(self, name: str, wanted: list[str], values: list[str]) -> list[tuple[Any, ...]]:
        assert len(wanted) == len(values)
        self.asked.append(name)
        return [(*self._answer, [name for name in wanted if name not in self.dropped])]


class Coordinator:
    """A server of Citus that reports its place, and how soon it settles commits."""

    def __init__(self, place: int, settles: str, options: str = "") -> None:
        self.settings = read_settings(parse_url("postgresql://me:hunter2@db.example/orders" + options))
        self._answer = (place, settles)

    async def fetch(self, name: str, /, *arguments: object) -> list[Any]:
        assert (name, arguments) == ("place_in_citus", ())
        return [self._answer]


@pytest.mark.parametrize(
    ("number", "version", "encoding", "reason"),
    [
        (120000, "12.22 (Debian 12.22-1)", "UTF8", TOO_OLD),
        (129999, "12.22", "LATIN1", TOO_OLD),
        (130000, "13.0", "LATIN1", NOT_UNICODE),
        (180001, "18.1", "LATIN1", NOT_UNICODE),
        (180001, "18.1", "SQL_ASCII", "encoded in SQL_ASCII; create one"),
    ],
)
async def test_a_server_that_will_not_do_is_refused_with_what_to_do(
    number: int, version: str, encoding: str, reason: str
) -> None:
    server = Answering(number, version, encoding)

    with pytest.raises(StorageConfigurationError, match=reason) as told:
        await check_server(cast("Database", server))

    assert ["server"] == server.asked
    assert "db.example/orders" in str(told.value)
    assert "hunter2" not in str(told.value)


async def test_the_oldest_that_will_do_is_taken() -> None:
    server = await check_server(cast("Database", Answering(130000, "13.0 (Debian 13.0-1)", "UTF8")))

    assert server == ("13.0", PLAIN, "")
    assert str(server) == "PostgreSQL 13.0"


async def test_a_server_with_citus_is_told_apart() -> None:
    answering = Answering(150018, "15.18", "UTF8", extensions={**PLPGSQL, "citus": "13.2-1"})
    server = await check_server(cast("Database", answering))

    assert server.engine is citus.ENGINE
    assert str(server) == "PostgreSQL 15.18 with Citus 13.2-1"


@pytest.mark.backends("postgres")
async def test_a_real_server_says_it_in_the_same_words(store: PostgresStore) -> None:
    server = await check_server(store.database)

    assert store.capabilities.name == f"PostgreSQL {server.version}"


async def test_a_server_that_does_not_wait_for_its_disk_is_refused() -> None:
    with pytest.raises(
        StorageConfigurationError, match=r"fsync is off .* or add durability=relaxed to the URL"
    ) as told:
        await check_server(cast("Database", Answering(180001, "18.1", "UTF8", fsync="off")))

    assert "hunter2" not in str(told.value)


async def test_a_citus_that_leaves_commits_unfinished_is_refused() -> None:
    with pytest.raises(StorageConfigurationError, match=r"citus.recover_2pc_interval is -1, .* set it to 1s") as told:
        await citus.check_coordinator(Coordinator(0, "-1"))

    assert "hunter2" not in str(told.value)
    await citus.check_coordinator(Coordinator(0, "-1", "?durability=relaxed"))
    await citus.check_coordinator(Coordinator(0, "1min"))


async def test_a_node_of_citus_is_refused() -> None:
    with pytest.raises(StorageConfigurationError, match="this server is a node of Citus; name its coordinator"):
        await citus.check_coordinator(Coordinator(2, "1min"))


async def test_a_server_that_does_not_wait_for_its_disk_is_taken_by_who_says_so() -> None:
    server = Answering(180001, "18.1", "UTF8", fsync="off", options="?durability=relaxed")

    assert (await check_server(cast("Database", server))).version == "18.1"


async def test_durability_is_full_or_relaxed() -> None:
    with pytest.raises(StorageConfigurationError, match="durability='much' is not one of full, relaxed"):
        Answering(180001, "18.1", "UTF8", options="?durability=much")


@pytest.mark.backends("postgres")
@pytest.mark.parametrize(("options", "said"), [("", "on"), ("durability=relaxed", "off")])
async def test_commits_wait_for_the_disk_whatever_the_database_says(
    open_store: Open, connection: asyncpg.Connection, options: str, said: str
) -> None:
    name = await connection.fetchval("select current_database()")
    await connection.execute(f'alter database "{name}" set synchronous_commit = off')

    store = await open_store(options)

    async with store.services.sessions.begin() as session:
        (row,) = await session.fetch_all("select current_setting('synchronous_commit') as said")
    ((engine,),) = await store.database.single(
        lambda link: link.fetch_text("select current_setting('synchronous_commit')")
    )
    assert (row["said"], engine) == (said, said)


async def test_a_pooler_that_drops_settings_is_named_with_them_and_the_mend() -> None:
    server = Answering(180001, "18.1", "UTF8")
    server.dropped = {"lock_timeout", "jit"}

    with pytest.raises(
        StorageConfigurationError, match=r"drops the settings .*\(jit, lock_timeout\).*pooler=transaction"
    ):
        await check_server(cast("Database", server))


async def test_nothing_is_asked_of_the_settings_of_a_pooler_that_is_told() -> None:
    server = Answering(180001, "18.1", "UTF8", options="?pooler=transaction")
    server.dropped = {"lock_timeout"}

    assert await check_server(cast("Database", server)) == Server("18.1", PLAIN)
