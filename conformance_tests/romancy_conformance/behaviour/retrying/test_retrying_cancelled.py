"""Retrying cancelled and terminated instances: what was undone is done again, and what stands is kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    ZlibCodec,
    activity,
    workflow,
)
from romancy.core import ActivityAttemptFailed
from romancy_conformance.behaviour.cast import act, charge, does, record
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from typing import Any

    from romancy import Handle
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@activity(retry=RetryPolicy.fixed(5, 3600))
async def fails_for_now(what: str) -> str:
    if what in record.broken:
        record.calls.append((what, ""))
        raise RuntimeError(f"{what} is broken for now")
    return what


CALLED_OFF = ["note", "charge", "wait go"]


@workflow
async def called_off_in_between(ctx: WorkflowContext) -> str:
    await act("note")
    return await fails_for_now("later")


@workflow
async def called_off_child(ctx: WorkflowContext) -> str:
    await charge("of the child")
    go = await ctx.wait_event("go")
    return str(go.data)


@workflow
async def called_off_parent(ctx: WorkflowContext) -> str:
    await act("parent")
    return await called_off_child.options(instance_id=f"{ctx.instance_id}-child")()


async def cancelled(handle: Handle[Any]) -> None:
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)


async def test_a_cancelled_instance_does_again_what_was_undone(app: Romancy) -> None:
    handle = await app.start(does, CALLED_OFF)
    await status_is(app, handle.instance_id, Status.WAITING)
    await handle.cancel("by mistake")
    await cancelled(handle)
    assert record.names() == ["note", "charge", "refund charge"]

    await app.retry(handle.instance_id)
    await until(lambda: record.names().count("charge") == 2)
    await handle.signal("go", "on")
    assert await handle.result(timeout=60) == ["note", "charge", "on"]
    assert record.names() == ["note", "charge", "refund charge", "charge"]
    assert len(set(record.keys("charge"))) == 2


async def test_a_second_request_to_cancel_does_not_cancel_the_retry(app: Romancy, open_app: Open) -> None:
    """Nor does one that came while the instance was being undone."""
    record.gates["refund charge"] = asyncio.Event()
    client = await open_app(worker=False)
    handle = await app.start(does, CALLED_OFF)
    await status_is(app, handle.instance_id, Status.WAITING)
    for _ in range(3):
        await handle.cancel("again and again")
    await until(lambda: "refund charge" in record.names())
    for _ in range(3):
        await client.cancel(handle.instance_id, reason="late")
    record.gates["refund charge"].set()
    await cancelled(handle)

    await app.retry(handle.instance_id)
    await until(lambda: record.names().count("charge") == 2)
    await handle.signal("go", "on")
    assert await handle.result(timeout=60) == ["note", "charge", "on"]


async def test_a_second_request_to_terminate_does_not_end_the_retry(app: Romancy, open_app: Open) -> None:
    """Nor does one to cancel that came before it."""
    record.gates["refund charge"] = asyncio.Event()
    client = await open_app(worker=False)
    handle = await app.start(does, CALLED_OFF)
    await status_is(app, handle.instance_id, Status.WAITING)
    for _ in range(2):
        await handle.cancel("again")
    await until(lambda: "refund charge" in record.names())
    await asyncio.gather(*(client.terminate(handle.instance_id) for _ in range(3)), client.cancel(handle.instance_id))
    await cancelled(handle)

    await app.retry(handle.instance_id, unsure="undone")
    await until(lambda: record.names().count("charge") == 2)
    await handle.signal("go", "on")
    assert await handle.result(timeout=60) == ["note", "charge", "on"]


@pytest.mark.parametrize("codecs", [[], [ZlibCodec()]], ids=["plain", "sealed"])
async def test_a_request_to_cancel_that_no_worker_has_read_does_not_cancel_the_retry(
    open_app: Open, codecs: list[ZlibCodec]
) -> None:
    """It came before the instance was terminated, and lies behind its end."""
    client = await open_app(worker=False, codecs=codecs)
    handle = await client.start(does, CALLED_OFF)
    for _ in range(2):
        await handle.cancel("in vain")
    await client.terminate(handle.instance_id)
    await client.retry(handle.instance_id)

    app = await open_app(codecs=codecs)
    await until(lambda: "charge" in record.names())
    await app.signal(handle.instance_id, "go", "on")
    assert await app.handle(handle.instance_id).result(timeout=60) == ["note", "charge", "on"]


async def test_a_request_to_cancel_a_child_does_not_cancel_its_retry_by_the_parent(
    storage_url: str, open_app: Open
) -> None:
    client = await open_app(worker=False)
    handle = await client.start(called_off_parent)
    child = f"{handle.instance_id}-child"
    async with Romancy(storage_url, workflows=[called_off_parent, called_off_child]):
        await until(lambda: "of the child" in record.names())
        await status_is(client, child, Status.WAITING)
    for _ in range(2):
        await client.cancel(child)
    for one in (child, handle.instance_id):
        await client.terminate(one)
    await client.retry(handle.instance_id)

    app = await open_app()
    await status_is(app, child, Status.WAITING)
    await app.signal(child, "go", "on")
    assert await app.handle(handle.instance_id).result(timeout=60) == "on"


async def test_a_retry_that_no_worker_has_seen_can_be_cancelled(open_app: Open) -> None:
    client = await open_app(worker=False)
    handle = await client.start(does, CALLED_OFF)
    await client.terminate(handle.instance_id)
    await client.retry(handle.instance_id)
    await handle.cancel("after all")

    app = await open_app()
    await cancelled(app.handle(handle.instance_id))
    await app.retry(handle.instance_id)
    await until(lambda: "charge" in record.names())
    await app.signal(handle.instance_id, "go", "on")
    assert await app.handle(handle.instance_id).result(timeout=60) == ["note", "charge", "on"]


async def test_it_is_cancelled_and_retried_as_often_as_asked(app: Romancy) -> None:
    handle = await app.start(does, CALLED_OFF)
    for time in range(1, 4):
        await until(lambda time=time: record.names().count("charge") == time)  # type: ignore[misc]
        await handle.cancel(f"time {time}")
        await cancelled(handle)
        await app.retry(handle.instance_id)
    await until(lambda: record.names().count("charge") == 4)
    await handle.signal("go", "on")
    assert await handle.result(timeout=60) == ["note", "charge", "on"]
    assert record.names().count("note") == 1
    assert len(set(record.keys("charge"))) == 4


async def test_what_a_terminated_instance_did_stands_in_its_retry(app: Romancy, open_app: Open) -> None:
    client = await open_app(worker=False)
    handle = await client.start(does, CALLED_OFF)
    await status_is(app, handle.instance_id, Status.WAITING)
    await client.terminate(handle.instance_id, reason="now")
    await client.terminate(handle.instance_id, reason="twice")
    await cancelled(handle)

    await client.retry(handle.instance_id)
    await app.signal(handle.instance_id, "go", "on")
    assert await handle.result(timeout=60) == ["note", "charge", "on"]
    assert record.names() == ["note", "charge"]


async def test_an_activity_that_a_termination_cut_off_is_in_doubt(app: Romancy) -> None:
    record.gates["gate"] = asyncio.Event()
    handle = await app.start(does, ["note", "gate"])
    await until(lambda: "gate" in record.names())
    await app.terminate(handle.instance_id)
    with pytest.raises(UsageError, match=r"waits_at_a_gate.*at work when the instance was terminated"):
        await app.retry(handle.instance_id)
    assert (await app.retry_many(status="cancelled")) == []

    record.gates["gate"].set()
    await app.retry(handle.instance_id, unsure="undone")
    assert await handle.result(timeout=60) == ["note", "gate"]
    assert record.names() == ["note", "gate", "gate"]
    assert len(set(record.keys("gate"))) == 2


async def test_an_activity_that_waited_for_its_next_attempt_is_not_in_doubt(app: Romancy, open_app: Open) -> None:
    record.broken.add("later")
    handle = await app.start(called_off_in_between)
    await until(lambda: "later" in record.names())
    await app.drain(0)  # the failure of the attempt is in the log then
    assert any(isinstance(event, ActivityAttemptFailed) for event in await handle.history())
    await app.terminate(handle.instance_id)
    record.broken.clear()
    await app.retry(handle.instance_id)
    await open_app()
    assert await handle.result(timeout=60) == "later"


async def test_children_are_retried_with_their_parent(app: Romancy) -> None:
    handle = await app.start(called_off_parent)
    child = app.handle(f"{handle.instance_id}-child")
    await until(lambda: "of the child" in record.names())
    await handle.cancel()
    await cancelled(handle)
    assert await child.status() is Status.CANCELLED

    await app.retry(handle.instance_id)
    await until(lambda: record.names().count("of the child") == 2)
    await child.signal("go", "on")
    assert await handle.result(timeout=60) == "on"
    assert record.names().count("parent") == 1


async def test_a_start_that_never_began_is_retried(open_app: Open) -> None:
    client = await open_app(worker=False)
    handle = await client.start(does, CALLED_OFF)
    await client.terminate(handle.instance_id)
    await client.retry(handle.instance_id)
    await open_app()
    await client.signal(handle.instance_id, "go", "on")
    assert await handle.result(timeout=60) == ["note", "charge", "on"]
    assert record.names() == ["note", "charge"]


async def test_many_are_retried_by_their_status(app: Romancy) -> None:
    handles = [await app.start(does, CALLED_OFF) for _ in range(3)]
    for handle in handles:
        await handle.cancel()
    for handle in handles:
        await cancelled(handle)
    assert await app.retry_many(workflow_name="does") == []
    ids = {handle.instance_id for handle in handles}
    assert set(await app.retry_many(workflow_name="does", status="cancelled", dry_run=True)) == ids
    assert set(await app.retry_many(workflow_name="does", status=["failed", "cancelled"])) == ids
    for handle in handles:
        await handle.signal("go", "on")
        assert await handle.result(timeout=60) == ["note", "charge", "on"]
    with pytest.raises(UsageError, match="failed or were cancelled, not completed ones"):
        await app.retry_many(status="completed")
    with pytest.raises(UsageError, match="is completed; only a failed or cancelled one can be retried"):
        await app.retry(handles[0].instance_id)


@workflow
async def called_off_forgiving(ctx: WorkflowContext) -> list[str]:
    """It goes on without its child."""
    said: list[str] = []
    try:
        said.append(await called_off_child.options(instance_id=f"{ctx.instance_id}-child")())
    except WorkflowCancelledError:
        said.append("without it")
    go = await ctx.wait_event("finish")
    return [*said, str(go.data)]


async def test_a_child_that_a_person_retries_does_not_answer_its_parent_twice(app: Romancy) -> None:
    handle = await app.start(called_off_forgiving)
    child = app.handle(f"{handle.instance_id}-child", called_off_child)
    await until(lambda: "of the child" in record.names())
    await child.cancel("by a person")
    await cancelled(child)
    await status_is(app, handle.instance_id, Status.WAITING)

    await app.retry(child.instance_id)
    await until(lambda: record.names().count("of the child") == 2)
    await child.signal("go", "on")
    assert await child.result(timeout=60) == "on"
    await handle.signal("finish", "end")
    assert await handle.result(timeout=60) == ["without it", "end"]


@pytest.mark.parametrize("ends", ["before", "after"])
async def test_a_terminated_parent_gets_the_child_that_went_on(app: Romancy, ends: str) -> None:
    """`terminate` leaves children alone; the retry of the parent asks for the same child."""
    handle = await app.start(called_off_parent)
    child = app.handle(f"{handle.instance_id}-child", called_off_child)
    await until(lambda: "of the child" in record.names())
    await app.terminate(handle.instance_id)
    await cancelled(handle)
    if ends == "before":
        await child.signal("go", "on")
        assert await child.result(timeout=60) == "on"
    await app.retry(handle.instance_id)
    if ends == "after":
        await status_is(app, handle.instance_id, Status.WAITING)
        await child.signal("go", "on")
    assert await handle.result(timeout=60) == "on"
    assert record.names() == ["parent", "of the child"]


@workflow
async def called_off_stuck(ctx: WorkflowContext) -> str:
    await charge("charge")
    if "body" in record.broken:
        await asyncio.get_running_loop().create_future()  # nothing can bring it
    return await act("ship")


async def test_what_was_cancelled_without_its_code_is_retried_with_it(app: Romancy) -> None:
    record.broken.add("body")
    handle = await app.start(called_off_stuck)
    await status_is(app, handle.instance_id, Status.STUCK)
    await handle.cancel()
    await cancelled(handle)
    assert record.names() == ["charge", "refund charge"]

    record.broken.clear()
    await app.retry(handle.instance_id)
    assert await handle.result(timeout=60) == "ship"
    assert record.names() == ["charge", "refund charge", "charge", "ship"]


async def test_a_request_to_cancel_a_stuck_instance_does_not_wind_up_its_retry(
    storage_url: str, open_app: Open
) -> None:
    """No worker has read it before the instance was terminated."""
    record.broken.add("body")
    client = await open_app(worker=False)
    handle = await client.start(called_off_stuck)
    async with Romancy(storage_url, workflows=[called_off_stuck]):
        await status_is(client, handle.instance_id, Status.STUCK)
    for _ in range(2):
        await client.cancel(handle.instance_id)
    await client.terminate(handle.instance_id)
    record.broken.clear()
    await client.retry(handle.instance_id, unsure="done")

    await open_app()
    assert await client.handle(handle.instance_id).result(timeout=60) == "ship"
    assert record.names() == ["charge", "ship"]
