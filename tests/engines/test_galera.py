"""MariaDB Galera: workers on three nodes, and each connection on another one, while workers and nodes are killed."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import aiomysql
import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.storage.backends import create_store
from romancy.storage.records import Delivered, Outcome
from romancy.storage.sql import load_queries
from romancy_conformance.behaviour.faults.field import Field
from romancy_conformance.contract.building import Actor, delivery, start, step, unique
from romancy_conformance.servers import Kind, ServerUnavailableError
from romancy_conformance.servers.galera import GaleraCluster
from romancy_conformance.servers.plugin import do_without
from romancy_conformance.servers.round_robin import RoundRobin

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

    from romancy_conformance.servers.galera import GaleraNode

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

COUNT, STEPS, WORKERS = 90, 4, 6
CONTRACT: Final = "conformance_tests/romancy_conformance/contract"
_READY: Final = "select variable_value from information_schema.global_status where variable_name = 'wsrep_ready'"
_INSTANCE: Final = "select instance_id from romancy_instances where instance_id = %s"
_QUESTIONS: Final = "select sum(variable_value) from information_schema.global_status where variable_name = 'questions'"
_CONFLICTS: Final = (
    "select sum(variable_value) from information_schema.global_status "
    "where variable_name in ('wsrep_local_cert_failures', 'wsrep_local_bf_aborts')"
)


@pytest.fixture(scope="module")
def cluster() -> Generator[GaleraCluster]:
    try:
        made = GaleraCluster()
    except ServerUnavailableError as error:
        do_without("galera", error)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def round_robin(cluster: GaleraCluster) -> Generator[RoundRobin]:
    proxy = RoundRobin([node.port for node in cluster.nodes])
    yield proxy
    proxy.close()


@asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncGenerator[Field]:
    field = Field(url, folder)
    await field.open()
    try:
        yield field
    finally:
        await field.close()


def at_port(url: str, port: int) -> str:
    """The same database through this port."""
    account, _, rest = url.rpartition("@")
    return f"{account}@127.0.0.1:{port}/{rest.partition('/')[2]}"


@asynccontextmanager
async def behind(node: GaleraNode) -> AsyncGenerator[None]:
    """Let a node apply nothing of what the others commit."""
    account = node.access
    holder = await aiomysql.connect(host="127.0.0.1", port=node.port, user=account.user, password=account.password)
    try:
        await holder.query("flush tables with read lock")
        yield
    finally:
        holder.close()  # which unlocks them


def conflicts(nodes: list[GaleraNode]) -> int:
    """How many transactions these nodes have refused or rolled back for another one."""
    return sum(int(node.access.fetch(_CONFLICTS) or 0) for node in nodes)


async def test_a_node_shows_at_once_what_another_one_has_committed(cluster: GaleraCluster) -> None:
    """Without a wait for what was committed before, some of these reads come too early."""
    url = await asyncio.to_thread(cluster.nodes[0].fresh_database)
    stores = [create_store(at_port(url, node.port)) for node in cluster.nodes]
    for store in stores:
        await store.open()
    try:
        for number in range(150):
            writer, reader = stores[number % 3], stores[(number + 1) % 3]
            item = start()
            assert await writer.commit([item]) == [Outcome.ACCEPTED]
            if number % 2:
                assert await reader.read(item.instance_id, limit=0) is not None, number
                continue
            async with reader.services.sessions.begin() as session:
                found = await session.fetch_all(_INSTANCE, item.instance_id)
                assert len(found) == 1, number
    finally:
        for store in stores:
            await store.close()


async def test_a_session_follows_a_row_that_another_node_has_committed(cluster: GaleraCluster) -> None:
    """It began before. A node that lags would call the row lost."""
    url = await asyncio.to_thread(cluster.nodes[0].fresh_database)
    stores = [create_store(at_port(url, node.port)) for node in cluster.nodes[:2]]
    for store in stores:
        await store.open()
    try:
        here = await Actor(stores[0], workflows={unique("flow"): "c1"}).register()
        for number in range(60):
            begun = await here.begin()
            async with stores[1].services.sessions.begin() as session:
                between = step(begun, 2)
                assert await here.write(between) is Outcome.ACCEPTED
                last = step(begun, 3, after=between.writer)
                assert await session.commit(last, worker=here.token) is Outcome.ACCEPTED, number
    finally:
        for store in stores:
            await store.close()


async def test_a_session_waits_for_other_nodes_over_a_connection_that_had_one_before(cluster: GaleraCluster) -> None:
    """MariaDB forgets at COM_RESET_CONNECTION that it has to wait."""
    first, second, _ = cluster.nodes
    url = await asyncio.to_thread(first.fresh_database)
    writer, reader = (create_store(at_port(url, node.port)) for node in (first, second))
    for store in (writer, reader):
        await store.open()

    async def seen(instance_id: str) -> int:
        async with reader.services.sessions.begin() as session:
            return len(await session.fetch_all(_INSTANCE, instance_id))

    for _ in range(3):
        item = start()
        async with behind(second):
            assert await writer.commit([item]) == [Outcome.ACCEPTED]
            seeing = asyncio.create_task(seen(item.instance_id))
            await asyncio.wait([seeing], timeout=0.3)
        assert await seeing == 1
    for store in (writer, reader):
        await store.close()


async def test_a_plan_waits_for_what_was_migrated_on_another_node(cluster: GaleraCluster) -> None:
    first, second, _ = cluster.nodes
    url = await asyncio.to_thread(first.fresh_database)
    store, other = (create_store(at_port(url, node.port)) for node in (first, second))
    upkeep = other.services.upkeep
    assert upkeep is not None
    assert (await upkeep.plan()).steps
    async with behind(second):
        await store.open()
        planning = asyncio.create_task(upkeep.plan())
        await asyncio.wait([planning], timeout=0.3)
    await store.close()

    assert (await planning).steps == ()


async def test_a_callers_connection_to_another_node_is_joined(cluster: GaleraCluster) -> None:
    """It is of the same cluster, and sees what was committed elsewhere before."""
    first, second, _ = cluster.nodes
    url = await asyncio.to_thread(first.fresh_database)
    store = create_store(url)
    await store.open()
    theirs = await aiomysql.connect(
        host="127.0.0.1",
        port=second.port,
        user=second.access.user,
        password=second.access.password,
        db=url.rpartition("/")[2],
        charset="utf8mb4",
    )
    try:
        for number in range(40):
            theirs_too, one = start(), start()
            assert await store.commit([one]) == [Outcome.ACCEPTED]
            await theirs.begin()
            async with store.services.sessions.join(theirs) as session:
                assert await session.commit(theirs_too) is Outcome.ACCEPTED
                mail = delivery(one)
                assert await session.send([mail]) == [Delivered.ACCEPTED], number
            await theirs.commit()
            assert await store.read(theirs_too.instance_id, limit=0) is not None
    finally:
        theirs.close()
        await store.close()


async def test_migrations_that_a_dead_process_has_claimed_are_taken_over(cluster: GaleraCluster) -> None:
    first, second, third = cluster.nodes
    url = await asyncio.to_thread(first.fresh_database)
    name = url.rpartition("/")[2]
    queries = load_queries(files("romancy_mysql") / "schema.sql", "romancy_")
    await asyncio.to_thread(first.access.fetch, queries["create_schema"], database=name)
    claim = queries["claim_schema"].replace(":token", "'dead'").replace(":stale", "''")
    await asyncio.to_thread(first.access.fetch, claim, database=name)

    begun = time.monotonic()
    stores = [create_store(f"{at_port(url, node.port)}?timeout=8") for node in (second, third)]
    await asyncio.gather(*(store.open() for store in stores))
    took = time.monotonic() - begun

    assert took > 4
    for store in stores:
        assert await store.commit([start()]) == [Outcome.ACCEPTED]
        await store.close()
    left = "select count(*) from romancy_schema where version = 0"
    assert await asyncio.to_thread(third.access.fetch, left, database=name) == 0


async def test_workers_and_a_node_are_killed(cluster: GaleraCluster, round_robin: RoundRobin, tmp_path: Path) -> None:
    """Nothing is lost, doubled or stuck. The node that comes back gets what it lacks."""
    first, second, third = cluster.nodes
    url = at_port(await asyncio.to_thread(first.fresh_database), round_robin.port)
    async with opened(url, tmp_path) as field:
        workers = [await field.worker("--lease", "15") for _ in range(WORKERS)]
        ids = [f"node-{number}" for number in range(COUNT)]
        await field.start(ids, STEPS, 0.2)
        await field.begun(COUNT)
        workers[0].kill()
        await field.worker("--lease", "15")
        await field.begun(COUNT * 3)
        before = await asyncio.to_thread(conflicts, [first, second])
        await asyncio.to_thread(third.kill)
        killed = time.monotonic()
        workers[1].kill()
        await field.worker("--lease", "15")
        await field.all_ended()
        ended = time.monotonic()
        assert all(worker.alive for worker in workers[2:])
        in_vain = await field.check(ids, STEPS, interrupted=COUNT * WORKERS)
        await asyncio.to_thread(cluster.bring_in, third)
        lacking = create_store(at_port(url, third.port))
        await lacking.open()
        for one in ids:
            history = await lacking.read(one)
            assert history is not None
            assert len(history.rows) == len((await field.store.read(one)).rows)  # type: ignore[union-attr]
        await lacking.close()
        now = await asyncio.to_thread(conflicts, [first, second])
    print(
        f"\nall ended {ended - killed:.1f} s after a node and two workers were killed, {in_vain} attempts in vain, "
        f"{now} conflicts on the two nodes that lived ({before} before the kill)"
    )


@pytest.mark.parametrize("way", ["hosts", "proxy"])
async def test_a_node_that_is_cut_off_is_left(
    cluster: GaleraCluster, round_robin: RoundRobin, tmp_path: Path, way: str
) -> None:
    """It still answers, and refuses everything: it has lost the majority."""
    first = cluster.nodes[0]
    url = at_port(await asyncio.to_thread(first.fresh_database), round_robin.port)
    if way == "hosts":
        account, _, rest = url.rpartition("@")
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in cluster.nodes)
        url = f"{account}@{hosts}/{rest.partition('/')[2]}"
    async with opened(url, tmp_path) as field:
        workers = [await field.worker("--lease", "15") for _ in range(2)]
        ids = [f"cut-{way}-{number}" for number in range(30)]
        await field.start(ids, 3, 0.2)
        await field.begun(30)
        await asyncio.to_thread(first.access.fetch, "set global wsrep_provider_options = 'gmcast.isolate = 1'")
        try:
            await field.all_ended(90)
            assert all(worker.alive for worker in workers)
        finally:
            await asyncio.to_thread(first.access.fetch, "set global wsrep_provider_options = 'gmcast.isolate = 0'")
            async with asyncio.timeout(60):
                while await asyncio.to_thread(first.access.fetch, _READY) != "ON":  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.2)
        await field.check(ids, 3, interrupted=30 * 3)


async def test_the_contract_with_each_connection_on_another_node(
    cluster: GaleraCluster, round_robin: RoundRobin
) -> None:
    """Without the tests under fire and of query plans, which look at one server's counters and tables."""
    environment = {**os.environ, Kind.MARIADB.url_variable: at_port(cluster.nodes[0].url("mysql"), round_robin.port)}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider"]
    chosen = ["-k", "mariadb and not fire and not walking and not plans", CONTRACT]
    run = await asyncio.create_subprocess_exec(
        *command, *chosen, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await run.communicate()
    said = output.decode().splitlines()
    print(f"\nthe contract on three nodes: {said[-1]}, {conflicts(cluster.nodes)} conflicts on the nodes so far")

    assert run.returncode == 0, "\n".join(said[-60:])


@workflow
async def twenty(ctx: WorkflowContext) -> int:
    return sum([await one_of_twenty(number) for number in range(20)])


@activity
async def one_of_twenty(number: int) -> int:
    return number


async def test_what_steps_cost_on_one_node_and_on_three(cluster: GaleraCluster, round_robin: RoundRobin) -> None:
    """Figures for a page of the guide; the machine decides how fast. Three apps, each with a worker."""
    for name, ports in {"one": [cluster.nodes[0].port] * 3, "three": [node.port for node in cluster.nodes]}.items():
        url = await asyncio.to_thread(cluster.nodes[0].fresh_database)
        async with AsyncExitStack() as stack:
            urls = [at_port(url, port) for port in ports]
            apps = [await stack.enter_async_context(Romancy(one, workflows=[twenty])) for one in urls]
            asked, refused = (sum(counts) for counts in zip(*map(_figures, cluster.nodes), strict=True))
            begun = time.monotonic()
            starts = (apps[number % 3].start(twenty) for number in range(90))
            handles = await asyncio.gather(*starts)
            assert {await handle.result() for handle in handles} == {190}
            took = time.monotonic() - begun
            asked_now, refused_now = (sum(counts) for counts in zip(*map(_figures, cluster.nodes), strict=True))
        print(
            f"\nworkers on {name}: {90 * 20 / took:.0f} steps/s, {(asked_now - asked) / 1800:.1f} statements a step, "
            f"{refused_now - refused} conflicts in {90 * 20} steps"
        )


def _figures(node: GaleraNode) -> tuple[int, int]:
    return int(node.access.fetch(_QUESTIONS)), conflicts([node])
