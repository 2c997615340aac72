"""The driver's own object in a session: its transient errors do not count as failed attempts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import RetryPolicy, Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.core import ActivityAttemptFailed, ActivityFailed
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy_conformance.contract.building import start
from romancy_conformance.contract.natives import run_natively

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy import Handle, Session
    from romancy.storage.protocol import Store

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres", "mysql", "mariadb", "tidb", "vitess")]

ONCE = RetryPolicy.none()
KILLS_ITSELF = {
    "postgres": "select pg_terminate_backend(pg_backend_pid())",
    "mysql": "kill connection_id()",
    "mariadb": "kill connection_id()",
    "tidb": "kill connection_id()",
}
"""A node of a Galera cluster first commits the transaction in which KILL is said."""
crossings: list[asyncio.Barrier] = []
"""The last one belongs to the running test."""
calls: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    calls.clear()
    crossings.append(asyncio.Barrier(2))


@pytest.fixture
async def accounts(storage_url: str) -> AsyncIterator[Store]:
    """A user's table with two rows, and a store to read it."""
    store = create_store(storage_url)
    await store.open()
    async with store.services.sessions.begin() as session:
        await session.execute("create table accounts (k varchar(10) primary key, n integer not null)")
        if store.capabilities.transactional_ddl:
            await session.commit(start(status=Status.COMPLETED, delay=None))
    async with store.services.sessions.begin() as session:
        await session.execute("insert into accounts values ('a', 0), ('b', 0)")
        await session.commit(start(status=Status.COMPLETED, delay=None))
    yield store
    await store.close()


async def contents(store: Store) -> dict[str, int]:
    async with store.services.sessions.begin() as session:
        return {row["k"]: row["n"] for row in await session.fetch_all("select k, n from accounts")}


def adding(key: str) -> str:
    return f"update accounts set n = n + 1 where k = '{key}'"  # noqa: S608 - a letter of this module's


async def meet() -> None:
    """The first two wait for each other, so that they certainly cross."""
    if len(calls) <= 2:
        await crossings[-1].wait()


@activity(retry=ONCE)
async def cross(first: str, second: str) -> int:
    context = activity_context()
    native = await context.session(object)
    calls.append(first)
    await run_natively(native, adding(first))
    await meet()
    await run_natively(native, adding(second))
    return context.attempt


@activity(retry=ONCE)
async def cross_in_part(first: str, second: str) -> int:
    """The same, with a savepoint around what may fail: the error passes more layers on its way out."""
    context = activity_context()
    session: Session = await context.session()
    calls.append(first)
    await run_natively(session.native, adding(first))
    await meet()
    async with session.savepoint():
        await run_natively(session.native, adding(second))
    return context.attempt


@activity(retry=ONCE)
async def add_over_a_lost_connection(kill: str) -> int:
    context = activity_context()
    native = await context.session(object)
    calls.append("add")
    await run_natively(native, adding("a"))
    if len(calls) == 1:
        await run_natively(native, kill)
    await run_natively(native, adding("b"))
    return context.attempt


@workflow
async def crosses(ctx: WorkflowContext) -> list[int]:
    return list(await asyncio.gather(cross("a", "b"), cross("b", "a")))


@workflow
async def crosses_in_part(ctx: WorkflowContext) -> list[int]:
    return list(await asyncio.gather(cross_in_part("a", "b"), cross_in_part("b", "a")))


@workflow
async def loses_its_connection(ctx: WorkflowContext, kill: str) -> list[int]:
    return [await add_over_a_lost_connection(kill)]


async def charged(handle: Handle[Any]) -> int:
    """Return how many attempts the log records as failed."""
    log = await handle.history()
    return sum(isinstance(event, (ActivityAttemptFailed, ActivityFailed)) for event in log)


@pytest.mark.parametrize("flow", [crosses, crosses_in_part], ids=["", "in a savepoint"])
async def test_a_deadlock_of_native_statements_is_no_failed_attempt(app: Romancy, accounts: Store, flow: Any) -> None:
    """A7: the loser's attempt is repeated, and both effects are there once."""
    handle: Handle[list[int]] = await app.start(flow.options(instance_id="crossing"))

    assert [1, 1] == await handle.result(timeout=100)
    assert {"a": 2, "b": 2} == await contents(accounts)
    assert len(calls) >= 3
    assert 0 == await charged(handle)


async def test_a_connection_lost_under_a_native_statement_is_no_failed_attempt(
    app: Romancy, accounts: Store, backend: str
) -> None:
    name = accounts.capabilities.name
    if backend not in KILLS_ITSELF or name.endswith("Galera"):
        pytest.skip(f"capability: no statement of {name} ends its own connection and nothing else")
    handle = await app.start(loses_its_connection.options(instance_id="lost"), KILLS_ITSELF[backend])

    assert [1] == await handle.result(timeout=100)
    assert {"a": 1, "b": 1} == await contents(accounts)
    assert 2 == len(calls)
    assert 0 == await charged(handle)
