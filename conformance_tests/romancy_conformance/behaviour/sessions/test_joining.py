"""Starting, signalling and publishing in a transaction of the caller's: its commit is ours, and so is its rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    InstanceConflictError,
    InstanceNotFoundError,
    RetryPolicy,
    Romancy,
    SerializationError,
    Status,
    UsageError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import returns, waits
from romancy_conformance.behaviour.publishing import published

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.callers import Caller

pytestmark = pytest.mark.anyio

PAID = EventType("paid", int)
apps: list[Romancy] = []


@activity(retry=RetryPolicy.fixed(3, 0.0))
async def invite(name: str) -> None:
    session = await activity_context().session()
    attempt = activity_context().attempt
    await apps[0].start(returns.options(instance_id=f"{name}-{attempt}"), name, session=session)
    await apps[0].signal("payment", PAID, attempt, session=session)
    await apps[0].publish("invited", {"name": name, "attempt": attempt}, session=session)
    if attempt < 3:
        raise ConnectionError("the attempt leaves nothing")


calls_invite = calling(invite)


@workflow
async def with_a_session(ctx: WorkflowContext, session: str) -> str:
    return session


@pytest.fixture
async def caller(app: Romancy, storage_url: str) -> AsyncIterator[Caller]:
    """A user's connection to the app's database."""
    opener = caller_for(storage_url)
    if opener is None:
        pytest.skip("capability: this database has no connections but the store's own")
    caller = await opener()
    yield caller
    await caller.close()


async def test_a_start_happens_with_the_callers_commit(app: Romancy, caller: Caller) -> None:
    await caller.begin()
    await caller.write("ann")
    handle = await app.start(returns, "ann", session=caller.connection)
    assert await app.get_instance(handle.instance_id) is None
    with pytest.raises(InstanceNotFoundError):
        await handle.result(timeout=60)
    await caller.commit()

    assert await handle.result(timeout=60) == "ann"
    assert await caller.names() == ["ann"]


async def test_a_rollback_leaves_nothing(app: Romancy, caller: Caller, store: Store) -> None:
    waiting = await app.start(waits, "paid")
    await caller.begin()
    await caller.write("ann")
    handle = await app.start(returns, "ann", session=caller.connection)
    await waiting.signal(PAID, 1, session=caller.connection)
    await app.publish("greeted", "ann", session=caller.connection)
    await caller.roll_back()

    assert await app.get_instance(handle.instance_id) is None
    assert await caller.names() == []
    assert await published(store) == []
    await waiting.signal(PAID, 2)
    assert await waiting.result(timeout=60) == 2
    again = await app.start(returns.options(instance_id=handle.instance_id), "ann")
    assert await again.result(timeout=60) == "ann"


async def test_a_signal_happens_with_the_callers_commit(app: Romancy, caller: Caller) -> None:
    waiting = await app.start(waits, "paid")
    await caller.begin()
    await waiting.signal(PAID, 12, session=caller.connection)
    assert await waiting.status() in (Status.RUNNING, Status.WAITING)
    await caller.commit()

    assert await waiting.result(timeout=60) == 12


async def test_what_was_started_can_be_signalled_in_the_same_transaction(app: Romancy, caller: Caller) -> None:
    await caller.begin()
    handle = await app.start(waits, "paid", session=caller.connection)
    await handle.signal(PAID, 7, session=caller.connection)
    await caller.commit()

    assert await handle.result(timeout=60) == 7


async def test_several_starts_in_one_transaction(app: Romancy, caller: Caller) -> None:
    await caller.begin()
    calls = [returns.bind(str(number)) for number in range(20)]
    handles = await app.start_many(calls, session=caller.connection)
    await caller.commit()

    assert [await handle.result(timeout=60) for handle in handles] == [f"{number}" for number in range(20)]


async def test_a_published_event_goes_with_the_callers_commit(app: Romancy, caller: Caller, store: Store) -> None:
    await caller.begin()
    await app.publish(PAID, 5, key="k", session=caller.connection)
    assert await published(store) == []
    await caller.commit()

    assert await published(store) == [{"name": "paid", "data": 5, "key": "k"}]


async def test_an_id_that_is_taken_leaves_the_transaction_good(app: Romancy, caller: Caller) -> None:
    named = returns.options(instance_id="ann")
    first = await app.start(named, "ann")
    assert await first.result(timeout=60) == "ann"
    await caller.begin()
    await caller.write("ann")

    same = await app.start(named, "ann", session=caller.connection)
    with pytest.raises(InstanceConflictError, match="another input"):
        await app.start(named, "bob", session=caller.connection)
    with pytest.raises(InstanceConflictError, match="of returns"):
        await app.start(waits.options(instance_id="ann"), "paid", session=caller.connection)
    await caller.commit()

    assert await same.result(timeout=60) == "ann"
    assert await caller.names() == ["ann"]


async def test_ids_that_are_taken_among_several_starts_in_one_transaction(app: Romancy, caller: Caller) -> None:
    await app.run(returns.options(instance_id="ann"), "ann")
    calls = [returns.options(instance_id=name).bind("x") for name in ("bob", "ann", "cid")]
    await caller.begin()
    with pytest.raises(InstanceConflictError) as told:
        await app.start_many(calls, session=caller.connection)
    await caller.commit()

    assert (told.value.conflicts, told.value.started) == (("ann",), ("bob", "cid"))
    assert [await app.handle(name, returns).result(timeout=60) for name in told.value.started] == ["x", "x"]


async def test_an_id_twice_in_one_transaction(app: Romancy, caller: Caller) -> None:
    named = returns.options(instance_id="ann")
    await caller.begin()
    handle = await app.start(named, "ann", session=caller.connection)
    with pytest.raises(InstanceConflictError, match="this very transaction"):
        await app.start(named, "ann", session=caller.connection)
    await caller.commit()

    assert await handle.result(timeout=60) == "ann"


async def test_a_signal_that_cannot_arrive_leaves_the_transaction_good(app: Romancy, caller: Caller) -> None:
    ended = await app.start(returns, "ann")
    await ended.result(timeout=60)
    await caller.begin()
    await caller.write("ann")

    much: Any = "much"
    with pytest.raises(InstanceNotFoundError, match="nobody"):
        await app.signal("nobody", PAID, 1, session=caller.connection)
    with pytest.raises(UsageError, match="has ended"):
        await ended.signal(PAID, 1, session=caller.connection)
    with pytest.raises(SerializationError):
        await ended.signal(PAID, much, session=caller.connection)
    await caller.commit()

    assert await caller.names() == ["ann"]


@pytest.mark.dealt("postgres", "mysql", "mariadb")
async def test_an_open_transaction_holds_up_no_workflow(app: Romancy, caller: Caller, store: Store) -> None:
    """A5: where the database locks rows, only the caller's own are locked (a SQLite file has one writer)."""
    if store.capabilities.embedded:
        pytest.skip("capability: one writer")
    waiting = await app.start(waits, "paid")
    await caller.begin()
    await waiting.signal(PAID, 1, session=caller.connection)
    await app.start(returns, "ann", session=caller.connection)

    assert await app.run(returns, "bob") == "bob"
    await waiting.signal(PAID, 2)
    assert await waiting.result(timeout=60) == 2
    await caller.roll_back()


async def test_an_activity_starts_signals_and_publishes_exactly_once(app: Romancy, store: Store) -> None:
    apps[:] = [app]
    payment = await app.start(waits.options(instance_id="payment"), "paid")

    await app.run(calls_invite, "ann")

    assert await payment.result(timeout=60) == 3
    assert await app.handle("ann-3", returns).result(timeout=60) == "ann"
    assert await app.get_instance("ann-1") is None
    assert await app.get_instance("ann-2") is None
    assert await published(store) == [{"name": "invited", "data": {"name": "ann", "attempt": 3}, "key": None}]


@pytest.mark.parametrize("thing", ["a connection", 42, object()], ids=["str", "int", "object"])
async def test_what_is_no_connection_is_refused(app: Romancy, store: Store, thing: object) -> None:
    waiting = await app.start(waits, "paid")
    with pytest.raises(UsageError, match="session= takes"):
        await app.start(returns, "ann", session=thing)
    with pytest.raises(UsageError, match="session= takes"):
        await waiting.signal(PAID, 1, session=thing)
    with pytest.raises(UsageError, match="session= takes"):
        await app.publish("greeted", "ann", session=thing)

    assert [instance.workflow_name for instance in (await app.list_instances()).instances] == ["waits"]
    assert await published(store) == []


async def test_a_connection_in_no_transaction_is_refused(app: Romancy, caller: Caller) -> None:
    waiting = await app.start(waits, "paid")
    with pytest.raises(UsageError, match="transaction"):
        await app.start(returns, "ann", session=caller.connection)
    with pytest.raises(UsageError, match="transaction"):
        await waiting.signal(PAID, 1, session=caller.connection)

    assert [instance.workflow_name for instance in (await app.list_instances()).instances] == ["waits"]


async def test_a_connection_that_is_closed_is_refused(app: Romancy, caller: Caller) -> None:
    """The error is not that of an unavailable database, for which a caller would wait."""
    waiting = await app.start(waits, "paid")
    await caller.begin()
    await caller.roll_back()
    await caller.close()

    with pytest.raises(UsageError, match="cannot be used here"):
        await app.start(returns, "ann", session=caller.connection)
    with pytest.raises(UsageError, match="cannot be used here"):
        await waiting.signal(PAID, 1, session=caller.connection)
    with pytest.raises(UsageError, match="cannot be used here"):
        await app.publish("greeted", "ann", session=caller.connection)


@pytest.mark.dealt("sqlite", "postgres")
async def test_a_connection_to_another_place_is_refused(app: Romancy, caller: Caller) -> None:
    other = await caller.elsewhere()
    if other is None:
        pytest.skip("capability: tables are named with their database or schema")

    with pytest.raises(UsageError, match="to another database"):
        await app.start(returns, "ann", session=other)
    assert (await app.list_instances()).instances == []


async def test_publishing_needs_a_transaction(app: Romancy) -> None:
    with pytest.raises(UsageError, match="session="):
        await app.publish("greeted", "ann", session=None)


async def test_a_parameter_called_session_is_the_workflows(app: Romancy, caller: Caller) -> None:
    assert await app.run(with_a_session, session="mine") == "mine"
    assert await (await app.start(with_a_session, session="mine")).result(timeout=60) == "mine"

    await caller.begin()
    (handle,) = await app.start_many([with_a_session.bind(session="mine")], session=caller.connection)
    await caller.commit()
    assert await handle.result(timeout=60) == "mine"


@activity(retry=RetryPolicy.fixed(3, 0.0))
async def announces(where: str) -> int:
    context = activity_context()
    if where == "in a session":
        await context.session()
    await context.publish("announced", context.attempt)
    if context.attempt < 3:
        raise ConnectionError("what this attempt sent was never sent")
    return context.attempt


calls_announces = calling(announces)


@pytest.mark.parametrize("where", ["plain", "in a session"])
async def test_an_attempt_that_fails_has_sent_nothing(app: Romancy, store: Store, where: str) -> None:
    assert await app.run(calls_announces, where) == 3
    assert [{"name": "announced", "data": 3, "key": None}] == await published(store)
