"""A schema as the unit on Citus: the contract, what counts, and nodes and workers that are killed under load.

All of the suites: `ROMANCY_TEST_BACKENDS=citus make test ARGS=…`.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest

import romancy_conformance.contract
from romancy.core import TERMINAL, ActivityCompleted, WorkflowCompleted
from romancy.errors import StorageConfigurationError
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy_conformance.behaviour.faults.field import Field
from romancy_conformance.contract.building import Actor, append, change, delivery, step, unique
from romancy_conformance.servers import ServerUnavailableError, tenants
from romancy_conformance.servers.citus import CitusCluster
from romancy_conformance.servers.plugin import do_without
from romancy_postgres._scripts import texts
from romancy_postgres.engines.citus import ENGINE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

COUNT, STEPS, WORKERS = 60, 3, 4
ROOT: Final = Path(__file__).resolve().parents[2]
_PASSED: Final = re.compile(r"^citus: .*: (\d+) tests$", re.MULTILINE)
FEWEST: Final = 180
MODULES: Final = (
    "fence", "carried", "batches", "inbox", "claims", "leases", "log", "outbox", "prune", "sessions", "mail", "find",
)  # fmt: skip
COMPOSED: Final = {
    "find_any", "find_some", "find_branch", "find_by_end", "find_by_ids", "find_by_index", "count_any", "count_by_ids",
    "count_by_index",
}  # fmt: skip
"""Texts with braces, which are no statements yet. The contract sends what becomes of them."""
VALUES: Final[dict[str, Any]] = {"text": "1", "int8": 1, "int4": 1, "bool": True, "bytea": b"{}", "jsonb": "{}"}


@pytest.fixture(scope="module")
def cluster() -> Generator[CitusCluster]:
    try:
        made = CitusCluster()
    except ServerUnavailableError as error:
        do_without("citus", error)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def schema() -> str:
    return unique("s").replace("-", "_")


@asynccontextmanager
async def opened(cluster: CitusCluster, schema: str, folder: Path) -> AsyncGenerator[Field]:
    """A field in a schema. The table of its effects is the coordinator's own, so that its commits are of two nodes."""
    await asyncio.to_thread(cluster.coordinator.run, "drop table if exists effects")
    field = Field(cluster.url(schema), folder)
    await field.open()
    try:
        yield field
    finally:
        await field.close()


async def test_every_statement_is_taken(cluster: CitusCluster, schema: str) -> None:
    store = create_store(cluster.url(schema))
    await store.open()
    await store.close()
    plain = await asyncpg.connect(cluster.coordinator.url("app"))
    refused: dict[str, str] = {}
    for name, text in texts(schema=schema, engine=ENGINE).items():
        transaction = plain.transaction()
        await transaction.start()
        try:
            prepared = await plain.prepare(text) if name not in COMPOSED else None
            if prepared is not None:
                await prepared.fetch(*(value_of(one.name) for one in prepared.get_parameters()))
        except asyncpg.FeatureNotSupportedError as error:
            refused[name] = str(error)
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
            pass  # it was taken, with values that mean nothing
        finally:
            await transaction.rollback()
    await plain.close()

    assert store.capabilities.name.startswith("PostgreSQL 15."), store.capabilities.name
    assert " with Citus " in store.capabilities.name
    assert refused == {}


def value_of(kind: str) -> object:
    one = VALUES[kind.removesuffix("[]")]
    return [one] if kind.endswith("[]") else one


async def test_an_append_to_a_taken_place_is_told(cluster: CitusCluster, schema: str) -> None:
    """Citus counts the rows of an INSERT from a SELECT that a conflict left out, unless they are returned."""
    store = create_store(cluster.url(schema))
    await store.open()
    actor = await Actor(store, workflows={"flow": "c1"}).register()
    one, other = await actor.begin(), await actor.begin()

    assert await store.commit([step(one, 2)], worker=actor.token) == [Outcome.ACCEPTED]
    assert await store.commit([step(one, 2)], worker=actor.token) == [Outcome.TAKEN]
    assert await store.commit([step(one, 2), step(other, 2)], worker=actor.token) == [Outcome.TAKEN, Outcome.ACCEPTED]
    await store.close()


async def test_parts_that_are_planned_one_by_one_decide_on_locked_rows(cluster: CitusCluster, schema: str) -> None:
    """A release and messages at the same time: each message is counted, and none is left behind a sleeping instance."""
    store = create_store(cluster.url(schema))
    await store.open()
    actor = await Actor(store, workflows={"flow": "c1"}).register()
    for _ in range(10):
        one = await actor.begin()
        release = append(one, 2, change=change(wake_at=None, release=True))
        answers = await asyncio.gather(actor.write(release), *(store.deliver([delivery(one)]) for _ in range(5)))
        history = await store.read(one.instance_id)

        assert answers[0] == "accepted"
        assert history is not None
        assert history.instance.signals == 5
        assert history.instance.owner is None
        assert history.instance.wake_at is not None, "it has mail, and nothing wakes it"
    await store.close()


async def test_a_locked_row_holds_up_no_other_instance(cluster: CitusCluster, schema: str) -> None:
    """The nodes have a limit of their own: they do not get that of a connection."""
    store = create_store(cluster.url(schema))
    await store.open()
    actor = await Actor(store, workflows={"flow": "c1"}).register()
    held, other = await actor.begin(), await actor.begin()
    plain = await asyncpg.connect(cluster.coordinator.url("app"))
    transaction = plain.transaction()
    await transaction.start()
    await plain.fetch(
        f"select from {schema}.romancy_instances where instance_id = $1 for update",
        held.instance_id,
    )
    batch = [append(one, 2, change=change()) for one in (held, other)]
    outcomes = await store.commit(batch, worker=actor.token)
    await transaction.rollback()
    await plain.close()

    assert outcomes == [Outcome.LOCKED, Outcome.ACCEPTED]
    assert await store.commit(batch[:1], worker=actor.token) == [Outcome.ACCEPTED]
    await store.close()


async def test_nodes_that_wait_without_a_limit_are_refused(cluster: CitusCluster, schema: str) -> None:
    await asyncio.to_thread(cluster.limit_lock_waits, "0")
    store = create_store(cluster.url(schema))
    try:
        with pytest.raises(StorageConfigurationError, match=r"2 nodes of Citus wait for locked rows without a limit"):
            await store.open()
    finally:
        await asyncio.to_thread(cluster.limit_lock_waits, "1s")
    await store.open()
    await store.close()


async def test_a_node_is_refused_in_the_place_of_the_coordinator(cluster: CitusCluster, schema: str) -> None:
    store = create_store(f"{cluster.nodes[0].url('app')}?schema={schema}")

    with pytest.raises(StorageConfigurationError, match="this server is a node of Citus; name its coordinator"):
        await store.open()


async def test_workers_are_killed_under_load(cluster: CitusCluster, schema: str, tmp_path: Path) -> None:
    async with opened(cluster, schema, tmp_path) as field:
        workers = [await field.worker("--lease", "6") for _ in range(WORKERS)]
        ids = [f"workers-{number}" for number in range(COUNT)]
        await field.start(ids, STEPS, 0.1)
        for number, worker in enumerate(workers):
            await field.begun((number + 1) * COUNT * STEPS // (2 * WORKERS))
            worker.send(signal.SIGKILL)
            await field.worker("--lease", "6")
        await field.all_ended(600)

        print(f"\nattempts in vain: {await field.check(ids, STEPS, interrupted=COUNT * WORKERS)}")


async def test_the_node_of_the_schema_is_killed_under_load(cluster: CitusCluster, schema: str, tmp_path: Path) -> None:
    """It comes back with its data, and every log is whole, with one result a step.

    A commit that was acknowledged, and prepared on the node, is not seen there until Citus settles it. So a step that
    had completed may run once more; its second result is refused (0082).
    """
    async with opened(cluster, schema, tmp_path) as field:
        workers = [await field.worker("--lease", "60") for _ in range(WORKERS)]
        ids = [f"node-{number}" for number in range(COUNT)]
        await field.start(ids, STEPS, 0.1)
        await field.begun(COUNT * STEPS // 2)
        holder = cluster.holder(schema)
        await asyncio.to_thread(holder.kill)
        await asyncio.to_thread(holder.start)
        await field.all_ended(600)
        line = [f"{name}:{n + 1}" for n in range(STEPS) for name in ("faulty_step", "faulty_write")]
        for one in ids:
            log = await field.log(one)
            assert [event.id for event in log if isinstance(event, ActivityCompleted)] == line, one
            assert [type(event) for event in log if isinstance(event, TERMINAL)] == [WorkflowCompleted], one
        async with field.store.services.sessions.begin() as session:
            rows = await session.fetch_all("select instance, activity from effects")
        ended = Counter((entry.instance_id, entry.activity_id) for entry in field.ledger.read() if entry.what == "end")

        assert all(worker.alive for worker in workers)
        assert Counter((row["instance"], row["activity"]) for row in rows) == Counter(
            (one, step_id) for one in ids for step_id in line if step_id.startswith("faulty_write")
        )
        assert ended.keys() == {(one, step_id) for one in ids for step_id in line}
        print(f"\nsteps that ran once more: {ended.total() - len(ended)}")


def test_the_contract_holds(cluster: CitusCluster) -> None:
    folder = Path(romancy_conformance.contract.__file__).parent
    modules = [str(folder / f"test_{name}.py") for name in MODULES]
    here = {"ROMANCY_TEST_BACKENDS": "citus", tenants.VARIABLE: cluster.coordinator.url("app")}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--tier", "all", *modules],
        cwd=ROOT, env=os.environ | here, capture_output=True, text=True, check=False,
    )  # fmt: skip

    print("\n" + done.stdout.rpartition("romancy backends")[2])
    assert done.returncode == 0, done.stdout[-6000:]
    found = _PASSED.search(done.stdout)
    assert found is not None, done.stdout[-2000:]
    assert int(found[1]) >= FEWEST
