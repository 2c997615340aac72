"""Simulated processes: what runs in them, what their deaths leave, and how they reach the database."""

from __future__ import annotations

import asyncio
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from romancy.engine.surroundings import here
from romancy.errors import StorageUnavailableError, UsageError
from romancy.storage.records import Worker
from romancy.testing.simulating.cluster import Cluster
from romancy.testing.simulating.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from romancy.storage.protocol import Store
    from romancy.testing.simulating.process import Process

HOUR = 3600 * SECOND


def run(cluster: Cluster, main: Coroutine[Any, Any, Any], name: str = "main") -> Any:
    """Return what this returns, in a process of its own."""
    process = cluster.process(name)
    process.begin(main, Context())
    assert cluster.world.run(lambda: process.is_dead, cluster.world.now + HOUR), "nothing is due any more"
    if process.error is not None:
        raise process.error
    return process.result


def begun(cluster: Cluster, main: Coroutine[Any, Any, Any], name: str = "other") -> Process:
    """Return a process that runs this."""
    process = cluster.process(name)
    process.begin(main, Context())
    return process


async def opened(cluster: Cluster) -> Store:
    """Return the database as the process reaches it in which this runs."""
    process = cluster.processes.turning
    assert process is not None
    store = cluster.store(process)
    await store.open()
    return store


@pytest.fixture
def cluster() -> Generator[Cluster]:
    cluster = Cluster("a test")
    yield cluster
    cluster.kill_all()


def test_hours_pass_at_once(cluster: Cluster) -> None:
    async def sleeps() -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(3000)
        return asyncio.get_running_loop().time() - before

    assert run(cluster, sleeps()) == pytest.approx(3000, abs=0.01)
    assert cluster.world.now - cluster.world.began == pytest.approx(3000 * SECOND, rel=1e-3)  # its clock drifts


def test_the_dead_run_no_further_line_and_no_finally(cluster: Cluster) -> None:
    seen: list[str] = []

    async def dies() -> None:
        try:
            seen.append("begun")
            await asyncio.sleep(1)
            seen.append("slept")
        finally:
            seen.append("finally")

    process = begun(cluster, dies())
    cluster.world.at(cluster.world.now + SECOND // 2, process.kill)
    run(cluster, asyncio.sleep(10))

    assert (["begun"], -9) == (seen, process.status)


def test_a_frozen_process_goes_on_where_it_was(cluster: Cluster) -> None:
    async def sleeps() -> float:
        before = here().seconds()
        await asyncio.sleep(1)
        return here().seconds() - before

    process = begun(cluster, sleeps())
    cluster.world.at(cluster.world.now + SECOND // 2, process.freeze)
    cluster.world.at(cluster.world.now + 20 * SECOND, process.thaw)
    run(cluster, asyncio.sleep(30))

    assert process.result == pytest.approx(20, abs=0.1)


def test_each_process_has_its_own_clock_chance_and_pid(cluster: Cluster) -> None:
    async def told() -> tuple[Any, ...]:
        return here().seconds(), here().wall() // 1_000_000_000, here().token(), here().host().pid

    one, two = run(cluster, told(), "one"), run(cluster, told(), "two")
    assert not {*one} & {*two} - {one[1]}
    again = Cluster("a test")
    assert [one, two] == [run(again, told(), "one"), run(again, told(), "two")]


def test_a_process_is_certainly_gone_for_its_own_machine_alone(cluster: Cluster) -> None:
    dead = begun(cluster, asyncio.sleep(1))
    dead.kill()
    frozen = begun(cluster, asyncio.sleep(1))
    frozen.freeze()
    beside, elsewhere = cluster.process("beside"), cluster.process("elsewhere", machine=1)

    def sees(process: Process, other: Process) -> bool:
        return process.loop.surroundings.certainly_gone(other.host, process.host)

    assert (True, False) == (sees(beside, dead), sees(beside, frozen))
    assert not sees(elsewhere, dead)


def test_sockets_are_refused_by_name(cluster: Cluster) -> None:
    async def connects() -> None:
        await asyncio.open_connection("127.0.0.1", 1)

    with pytest.raises(UsageError, match="create_connection in connects"):
        run(cluster, connects())


def test_functions_run_inline(cluster: Cluster) -> None:
    async def calls() -> int:
        return await asyncio.to_thread(sum, [1, 2])

    assert run(cluster, calls()) == 3


async def beats(cluster: Cluster, times: int) -> list[str]:
    """Send heartbeats; return what became of each."""
    store, said = await opened(cluster), list[str]()
    for number in range(times):
        try:
            await store.heartbeat(Worker(token=f"t{number}", worker_id="w", lease=SECOND))
            said.append("")
        except StorageUnavailableError as error:
            said.append(str(error))
    return said


async def tokens(cluster: Cluster) -> set[str]:
    """Return the workers that the database knows."""
    store = await opened(cluster)
    return {peer.token for peer in (await store.services.reading.census()).workers}


@pytest.mark.parametrize(("how", "there"), [("lost", False), ("unanswered", True), ("hung", True)])
def test_the_wire_loses_calls_before_or_after_they_are_carried_out(cluster: Cluster, how: str, *, there: bool) -> None:
    async def begins() -> list[str]:
        await beats(cluster, 0)
        setattr(cluster.weather, how, 1.0)
        return (await beats_of(1))[:]

    async def beats_of(times: int) -> list[str]:
        store, said = stores[0], list[str]()
        for number in range(times):
            try:
                await store.heartbeat(Worker(token=f"t{number}", worker_id="w", lease=SECOND))
            except StorageUnavailableError as error:
                said.append(str(error))
        return said

    stores: list[Store] = []

    async def main() -> list[str]:
        stores.append(await opened(cluster))
        return await begins()

    said = run(cluster, main())
    cluster.weather.calm()
    run(cluster, asyncio.sleep(20))

    assert bool(said) or how == "hung"
    assert ({"t0"} if there else set()) == run(cluster, tokens(cluster))


def test_what_the_dead_have_sent_is_carried_out(cluster: Cluster) -> None:
    process = begun(cluster, beats(cluster, 1))
    assert cluster.world.run(lambda: cluster.has_under_way(process, "heartbeat"), cluster.world.now + HOUR)
    process.kill()
    run(cluster, asyncio.sleep(60))

    assert run(cluster, tokens(cluster)) == {"t0"}
    assert cluster.world.trace.counts["posthumous"] == 1


@pytest.mark.parametrize("how", ["kill", "cut"])
def test_a_lost_connection_rolls_its_transaction_back(cluster: Cluster, how: str) -> None:
    async def holds() -> None:
        store = await opened(cluster)
        async with store.services.sessions.begin() as session:
            await session.execute("create table held (n integer)")
            await asyncio.sleep(1000)

    process = begun(cluster, holds())
    run(cluster, asyncio.sleep(5))
    process.kill() if how == "kill" else cluster.wires[process.pid][0].cut()

    async def looks() -> list[Any]:
        store = await opened(cluster)
        async with asyncio.timeout(30), store.services.sessions.begin() as session:
            return await session.fetch_all("select name from sqlite_master where name = 'held'")

    assert run(cluster, looks()) == []


@pytest.mark.parametrize("before", [True, False])
def test_whoever_joins_a_lost_transaction_is_told_that_the_database_is_away(cluster: Cluster, *, before: bool) -> None:
    """As with a server: the connection is gone. To join a transaction that has ended remains an error of the caller."""

    async def joins() -> None:
        store = await opened(cluster)
        async with store.services.sessions.begin() as session:
            native = session.native if before else None
            await asyncio.sleep(10)
            async with store.services.sessions.join(native or session.native):
                pass

    process = begun(cluster, joins())
    run(cluster, asyncio.sleep(5))
    cluster.wires[process.pid][0].cut()
    run(cluster, asyncio.sleep(60))

    assert isinstance(process.error, StorageUnavailableError)


def test_to_join_a_transaction_that_has_ended_is_an_error_of_the_caller(cluster: Cluster) -> None:
    async def joins() -> None:
        store = await opened(cluster)
        async with store.services.sessions.begin() as session:
            native = session.native
        async with store.services.sessions.join(native) as joined:
            await joined.execute("select 1")

    with pytest.raises(UsageError):
        run(cluster, joins())


def test_the_clock_of_the_database_stands_or_is_set_back_and_its_time_never_goes_back() -> None:
    cluster = Cluster("clocks")  # a database of its own

    async def beats() -> list[int]:
        store, found = await opened(cluster), list[int]()
        worker, clock = Worker(token="t1", worker_id="worker", lease=SECOND), cluster.clock
        back = partial(clock.set_back, 20 * SECOND)
        changes: list[Callable[[], object]] = [clock.now, clock.stand, clock.go_on, back]
        for change in changes:
            change()
            await asyncio.sleep(10)
            found.append((await store.heartbeat(worker)).now)
        return found

    first, standing, again, back = run(cluster, beats())
    cluster.kill_all()
    assert standing - first < SECOND
    assert again - standing == pytest.approx(20 * SECOND, rel=0.01)
    assert back == again


def test_a_process_goes_on_after_its_connection_was_cut(cluster: Cluster) -> None:
    async def asks() -> object:
        store = await opened(cluster)
        await asyncio.sleep(10)
        return await store.read("nothing")

    process = begun(cluster, asks())
    run(cluster, asyncio.sleep(5))
    cluster.wires[process.pid][0].cut()
    run(cluster, asyncio.sleep(60))

    assert (process.status, process.error) == (0, None)


def test_the_wires_of_a_process_have_chance_of_their_own(cluster: Cluster) -> None:
    """A call that gets lost is not lost again each time that the process tries with another store."""
    cluster.weather.lost = 0.5

    async def tries() -> int:
        process = cluster.processes.turning
        assert process is not None
        lost = 0
        for _ in range(20):
            try:
                await cluster.store(process).open()
            except StorageUnavailableError:
                lost += 1
        return lost

    assert 0 < run(cluster, tries()) < 20
