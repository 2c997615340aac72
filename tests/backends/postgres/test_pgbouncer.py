"""A real PgBouncer in each of its modes: what a statement costs through it, and which error names what is wrong."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

from romancy import Romancy
from romancy.errors import StorageConfigurationError
from romancy.storage.query import build_query
from romancy.storage.records import ClaimRequest, Outcome
from romancy_conformance.behaviour.sharing import calls_share_sleeps, ended, ids, shares
from romancy_conformance.contract.building import Actor, start, step, unique
from romancy_conformance.proxy import Direction, Fault, Proxy
from romancy_conformance.servers.databases import shared_server
from romancy_conformance.servers.kinds import Kind, ServerUnavailableError
from romancy_conformance.servers.pgbouncer import PgBouncer
from romancy_conformance.servers.plugin import do_without
from romancy_postgres import _database
from romancy_postgres._connection import COMMON_SETTINGS, ENGINE_SETTINGS, PLANNING
from romancy_postgres._pooling import Kept
from tests.backends.postgres.pooler import Pooler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import asyncpg

    from romancy.storage.upkeep import Setting
    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]
    Before = Callable[..., PgBouncer]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

STEPS: Final = 20
ROUNDS: Final = 4
OPTION: Final = "pooler=transaction"
DROPPED: Final = {"ignore_startup_parameters": ",".join([*COMMON_SETTINGS, *ENGINE_SETTINGS, "synchronous_commit"])}


@pytest.fixture
def pgbouncer() -> Iterator[Before]:
    """Start a PgBouncer before the server of this test's database."""
    with ExitStack() as stack:

        def started(mode: str = "transaction", **settings: str) -> PgBouncer:
            try:
                pooler = PgBouncer(shared_server(Kind.POSTGRES).access, mode=mode, settings=settings)
                return stack.enter_context(pooler)
            except ServerUnavailableError as error:
                do_without("pgbouncer", error)

        yield started


class Requests:
    """Counts what is sent through a proxy."""

    def __init__(self) -> None:
        self.count = 0

    def sees(self, direction: Direction, _: bytes) -> bool:
        self.count += direction is Direction.TO_SERVER
        return False


async def round_trips_of_a_step(pooler: PgBouncer, url: str, open_store: Open) -> float:
    """The least of some rounds: heartbeats and the notification of the start add to a count."""
    requests, found = Requests(), list[int]()
    with Proxy("127.0.0.1", pooler.port) as proxy:
        proxy.when(requests.sees, Fault.CUT)
        store = await open_store(OPTION, url=proxy.url(pooler.url(url)))
        actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
        begun = await actor.begin()
        await actor.write(step(begun, 2))
        for number in range(ROUNDS):
            before, first = requests.count, 3 + number * STEPS
            for seq in range(first, first + STEPS):
                assert await actor.write(step(begun, seq)) is Outcome.ACCEPTED
            found.append(requests.count - before)
        await store.close()
    return min(found) / STEPS


async def test_a_step_is_one_round_trip(pgbouncer: Before, storage_url: str, open_store: Open) -> None:
    assert await round_trips_of_a_step(pgbouncer(), storage_url, open_store) == 1


async def test_without_prepared_statements_a_step_is_a_transaction_and_the_log_says_so(
    pgbouncer: Before, storage_url: str, open_store: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "romancy.postgres"):
        assert await round_trips_of_a_step(pgbouncer(max_prepared_statements="0"), storage_url, open_store) >= 4

    (warning,) = [record.getMessage() for record in caplog.records]
    assert "does not keep prepared statements" in warning
    assert "max_prepared_statements" in warning


async def test_the_session_of_the_server_may_change_between_two_statements(
    pgbouncer: Before, storage_url: str, open_store: Open
) -> None:
    pooler = pgbouncer(server_round_robin="1", default_pool_size="4", max_prepared_statements="5")
    store = await open_store(OPTION, url=pooler.url(storage_url))
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    for number in range(12):
        begun = await actor.begin(input=b'{"n":%d}' % number)
        async with store.services.sessions.begin() as session:
            assert await session.fetch_all(f"select $1::int as n{number}", number) == [{f"n{number}": number}]
            assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED
        assert await actor.write(step(begun, 3)) is Outcome.ACCEPTED
        assert await actor.write(start()) is Outcome.ACCEPTED
    work = await store.claim(ClaimRequest(worker=actor.token, codes={"flow": "c1"}, limit=50, sweep=True))
    assert len(work.claimed) == 12
    assert len((await store.services.reading.find(build_query(limit=50))).rows) == 24


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_without_the_option_the_error_names_it(
    mode: str, pgbouncer: Before, storage_url: str, open_store: Open
) -> None:
    with pytest.raises(StorageConfigurationError, match="in every mode; add the option pooler=transaction"):
        await open_store(url=pgbouncer(mode).url(storage_url))


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_settings_that_are_dropped_on_the_way_are_missed(
    mode: str, pgbouncer: Before, storage_url: str, open_store: Open
) -> None:
    with pytest.raises(StorageConfigurationError, match=r"drops the settings .*lock_timeout.*pooler=transaction"):
        await open_store(url=pgbouncer(mode, **DROPPED).url(storage_url))


async def test_session_mode_works_with_the_option(pgbouncer: Before, storage_url: str, open_store: Open) -> None:
    store = await open_store(OPTION, url=pgbouncer("session").url(storage_url))
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()

    assert await actor.write(step(await actor.begin(), 2)) is Outcome.ACCEPTED


@pytest.mark.parametrize("settings", [{}, DROPPED])
@pytest.mark.parametrize("option", [OPTION, ""])
async def test_statement_mode_is_refused_by_name(
    settings: dict[str, Any], option: str, pgbouncer: Before, storage_url: str, open_store: Open
) -> None:
    if not (settings or option):
        pytest.skip("the settings of the connection are refused before: see above")
    with pytest.raises(StorageConfigurationError, match=r"statement mode.*set its pool_mode to transaction|drops the"):
        await open_store(option, url=pgbouncer("statement", **settings).url(storage_url))


async def round_trips_of_a_claim(pooler: PgBouncer, url: str, open_store: Open) -> int:
    requests, found = Requests(), list[int]()
    with Proxy("127.0.0.1", pooler.port) as proxy:
        proxy.when(requests.sees, Fault.CUT)
        store = await open_store(OPTION, url=proxy.url(pooler.url(url)))
        actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
        for _ in range(ROUNDS):
            before = requests.count
            await store.claim(ClaimRequest(worker=actor.token, codes={"flow": "c1"}, limit=5))
            found.append(requests.count - before)
        await store.close()
    return min(found)


async def test_a_claim_is_one_round_trip_where_the_role_has_the_settings_of_the_planner(
    pgbouncer: Before, storage_url: str, open_store: Open, connection: asyncpg.Connection
) -> None:
    assert await round_trips_of_a_claim(pgbouncer(), storage_url, open_store) == 3
    name = storage_url.rpartition("/")[2]
    for setting, value in PLANNING.items():
        await connection.execute(f'alter database "{name}" set {setting} = {value}')
    try:
        assert await round_trips_of_a_claim(pgbouncer(), storage_url, open_store) == 1
    finally:
        await connection.execute(f'alter database "{name}" reset all')


async def test_doctor_says_whether_the_role_has_the_settings_of_the_planner(
    pgbouncer: Before, storage_url: str, open_store: Open, connection: asyncpg.Connection
) -> None:
    async def found() -> Setting:
        store = await open_store(OPTION, url=pgbouncer().url(storage_url))
        (one,) = [each for each in await store.services.upkeep.settings() if each.name == "planner's settings"]
        return one

    without = await found()
    for name, value in PLANNING.items():
        await connection.execute(f'alter database "{storage_url.rpartition("/")[2]}" set {name} = {value}')
    assert without.verdict == "note"
    assert "ALTER ROLE" in without.advice
    assert "enable_seqscan = off" in without.advice
    assert (await found()).verdict == "ok"
    await connection.execute(f'alter database "{storage_url.rpartition("/")[2]}" reset all')


async def test_a_pooler_that_loses_its_prepared_statements_is_relied_on_no_more(
    storage_url: str, open_store: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a reload with other settings."""

    async def said(_: object) -> Kept:
        return Kept(statements=True, planning=True)

    monkeypatch.setattr(_database, "look", said)
    async with Pooler(storage_url) as pooler:
        with caplog.at_level(logging.WARNING, "romancy.postgres"):
            store = await open_store(OPTION, url=pooler.url)
            actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
            for _ in range(5):
                begun = await actor.begin()
                for seq in range(2, 8):
                    assert await actor.write(step(begun, seq)) is Outcome.ACCEPTED
    assert any("does not keep prepared statements" in record.getMessage() for record in caplog.records)


async def test_a_backlog_is_shared_by_workers_that_hear_nothing_of_each_other(
    pgbouncer: Before, storage_url: str
) -> None:
    """A worker claims for its free slots and a moment's stock, so that the rest is left for those who only look."""
    url = f"{pgbouncer().url(storage_url)}?{OPTION}"
    async with AsyncExitStack() as stack:
        for _ in range(2):
            worker = Romancy(url, workflows=[calls_share_sleeps], max_activities=2)
            await stack.enter_async_context(worker)
        front = await stack.enter_async_context(Romancy(url, workflows=[calls_share_sleeps], worker=False))
        handles = await front.start_many([calls_share_sleeps.bind(0.2) for _ in range(60)])
        await ended(handles)

    found = await shares(storage_url, ids(handles))
    assert len(found.done) == 2
    assert min(found.done.values()) >= 15
