"""Retrying a workflow whose children completed, failed, were cancelled, purged, or retried by hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from romancy import (
    Romancy,
    Status,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    compensation,
    workflow,
)
from romancy.core import ChildStarted
from romancy.storage.any_store import lying_in
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import act, charge, record, waits_at_a_gate
from romancy_conformance.behaviour.failing import fail, failed
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@workflow
async def part(ctx: WorkflowContext, what: str) -> str:
    await act(f"note of {what}")
    return await act(what)


@workflow
async def whole(ctx: WorkflowContext, what: str) -> list[str]:
    note = await act("note")
    return [note, await part(what), await act("ship")]


@workflow
async def two_parts(ctx: WorkflowContext) -> list[str]:
    return list(await asyncio.gather(part("left"), part("right")))


async def test_a_failed_child_is_retried_with_its_own_memory(app: Romancy) -> None:
    instance_id = await failed(app, whole, "part", what="part")

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["note", "part", "ship"]
    assert record.names() == ["note", "note of part", "part", "part", "ship"]
    assert len(set(record.keys("part"))) == 1
    (child,) = [instance async for instance in app.iter_instances(workflow_name="part")]
    assert child.status is Status.COMPLETED


async def test_a_child_that_fails_again_fails_its_parent_again(app: Romancy) -> None:
    record.broken.add("part")
    handle = await app.start(whole, "part")
    for _ in range(3):
        await fail(app, handle.instance_id)
        await app.retry(handle.instance_id)
    await fail(app, handle.instance_id)
    record.broken.clear()
    await app.retry(handle.instance_id)

    assert await handle.result(timeout=60) == ["note", "part", "ship"]
    assert Counter(record.names()) == {"note": 1, "note of part": 1, "part": 5, "ship": 1}


async def test_a_child_that_was_cancelled_beside_one_that_failed(app: Romancy) -> None:
    record.gates["right"] = asyncio.Event()
    instance_id = await failed(app, one_fails, what="left")
    record.broken.clear()
    record.gates["right"].set()

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["left", "right"]
    assert record.names().count("note of left") == 1
    assert len(set(record.keys("left"))) == 1


@workflow
async def slow_part(ctx: WorkflowContext) -> str:
    return await waits_at_a_gate("right")


@workflow
async def one_fails(ctx: WorkflowContext) -> list[str]:
    return list(await asyncio.gather(part("left"), slow_part()))


async def test_a_child_that_was_retried_by_hand_before_its_parent(app: Romancy) -> None:
    instance_id = await failed(app, whole, "part", what="part")
    (child,) = [instance.instance_id async for instance in app.iter_instances(workflow_name="part")]
    await app.retry(child)
    assert await app.handle(child).result(timeout=60) == "part"

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["note", "part", "ship"]
    assert record.names().count("part") == 2


async def test_a_child_that_was_purged_is_started_anew(app: Romancy) -> None:
    instance_id = await failed(app, whole, "part", what="part")
    (child,) = [instance.instance_id async for instance in app.iter_instances(workflow_name="part")]
    assert await app.purge(child) == 1

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["note", "part", "ship"]
    ids = [event.instance_id for event in await app.history(instance_id) if isinstance(event, ChildStarted)]
    assert len(set(ids)) == 2
    assert record.names().count("note of part") == 2


async def test_a_stranger_with_the_id_of_a_child_is_let_alone(open_app: Open, storage_url: str) -> None:
    """The child was purged and its id used by another instance before the retried parent continued."""
    front = await open_app(worker=False)
    async with Romancy(storage_url, workflows=[whole, part]) as app:
        instance_id = await failed(app, whole, "part", what="part")
        (child,) = [instance.instance_id async for instance in app.iter_instances(workflow_name="part")]
    await front.retry(instance_id)
    assert await front.purge(child) == 1
    async with Romancy(storage_url, workflows=[part]) as app:
        record.broken.add("stranger")
        await app.start(part.options(instance_id=child), "stranger")
        await fail(app, child)
        record.broken.clear()
    record.calls.clear()

    app = await open_app()
    with pytest.raises(WorkflowFailedError, match="is another's"):
        await app.handle(instance_id).result(timeout=60)

    assert (await app.handle(child).status(), record.names()) == (Status.FAILED, [])


async def test_children_side_by_side(app: Romancy) -> None:
    record.broken.add("left")
    handle = await app.start(two_parts)
    await fail(app, handle.instance_id)
    record.broken.clear()

    await app.retry(handle.instance_id)

    assert await handle.result(timeout=60) == ["left", "right"]
    assert record.names().count("note of left") == 1
    assert len(set(record.keys("left"))) == 1
    assert len(set(record.keys("right"))) == 1


async def test_an_undone_activity_before_a_child(app: Romancy) -> None:
    instance_id = await failed(app, with_a_child_of_a_name, "mine")

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["charge", "part", "ship"]
    assert record.names().count("part") == 1


@workflow
async def with_a_child_of_a_name(ctx: WorkflowContext, name: str) -> list[str]:
    return [await charge("charge"), await part.options(instance_id=name)("part"), await act("ship")]


async def test_a_parent_that_goes_on_hears_nothing_of_a_retried_child(app: Romancy) -> None:
    record.gates["gate"] = asyncio.Event()
    record.broken.add("part")
    handle = await app.start(tolerant)
    await fail_of(app, "part")
    record.broken.clear()
    (child,) = [instance.instance_id async for instance in app.iter_instances(workflow_name="part")]

    await app.retry(child)
    assert await app.handle(child).result(timeout=60) == "part"
    record.gates["gate"].set()

    assert await handle.result(timeout=60) == "gate"


async def fail_of(app: Romancy, name: str) -> None:
    async with asyncio.timeout(60):
        while (await app.list_instances(workflow_name=name, status=Status.FAILED)).instances == []:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@workflow
async def tolerant(ctx: WorkflowContext) -> str:
    try:
        return await part("part")
    except WorkflowFailedError:
        return await waits_at_a_gate("gate")


@workflow
async def counts_down(ctx: WorkflowContext, left: int) -> int:
    await act(f"left {left}")
    if left:
        counts_down.recur(left - 1)
    return left


@workflow
async def over_one_that_counts(ctx: WorkflowContext) -> int:
    return await counts_down(2)


async def test_a_child_that_continues_as_new_and_fails_again_and_again(app: Romancy) -> None:
    record.broken.add("left 1")
    handle = await app.start(over_one_that_counts)
    await fail(app, handle.instance_id)
    record.broken.clear()
    record.broken.add("left 0")
    for _ in range(2):
        await app.retry(handle.instance_id)
        await fail(app, handle.instance_id)
    record.broken.clear()
    await app.retry(handle.instance_id)

    assert await handle.result(timeout=60) == 0
    assert record.names() == ["left 2", "left 1", "left 1", "left 0", "left 0", "left 0"]
    assert len(set(record.keys("left 0"))) == 1


@workflow
async def charges(ctx: WorkflowContext) -> str:
    return await charge("charge")


@workflow
async def over_one_level(ctx: WorkflowContext) -> str:
    await act("note")
    await charges()
    return await part("part")


calls_over_one_level = calling(over_one_level)


async def test_a_grandchild_that_failed(app: Romancy) -> None:
    instance_id = await failed(app, calls_over_one_level, what="part")

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == "part"
    assert record.names() == ["note", "charge", "note of part", "part", "part"]


@workflow
async def charged_part(ctx: WorkflowContext) -> str:
    await charge("charge")
    return await act("ship")


calls_charged_part = calling(charged_part)


async def test_a_child_that_was_terminated_while_it_gave_the_money_back(app: Romancy) -> None:
    record.gates["refund charge"] = asyncio.Event()
    record.broken.add("ship")
    handle = await app.start(calls_charged_part)
    child = await one_that_called(app, "charged_part", "refund charge")
    assert await app.terminate(child)
    await fail(app, handle.instance_id)
    record.broken.clear()

    with pytest.raises(UsageError, match=rf"charge:1@1 of instance '{child}'.*unsure='done'"):
        await app.retry(handle.instance_id)
    assert record.names().count("ship") == 1, "nothing is shipped for money that was perhaps given back"

    await app.retry(handle.instance_id, unsure="undone")
    assert await handle.result(timeout=60) == "ship"
    assert len(set(record.keys("charge"))) == 2


@compensation
async def unlock(what: str) -> None:
    record.do(f"unlock {what}")
    await record.gates["unlock"].wait()


@activity(compensation=unlock)
async def lock(what: str) -> str:
    return record.do(what)


@workflow
async def breaks_sooner(ctx: WorkflowContext) -> str:
    if ctx.run > 1:
        await act("look")
    await lock("door")
    return await waits_at_a_gate("gate")


calls_breaks_sooner = calling(breaks_sooner)


async def test_a_check_knows_who_undoes_what_a_former_run_did(app: Romancy) -> None:
    record.gates.update({"gate": asyncio.Event(), "unlock": asyncio.Event()})
    handle = await app.start(calls_breaks_sooner)
    child = await one_that_called(app, "breaks_sooner", "gate")
    assert await app.terminate(child)
    await fail(app, handle.instance_id)
    record.broken.add("look")

    with pytest.raises(UsageError, match=r"waits_at_a_gate.*at work when the instance was terminated"):
        await app.retry(handle.instance_id)
    await app.retry(handle.instance_id, unsure="undone")
    await one_that_called(app, "breaks_sooner", "unlock door")

    assert (await app.check()).misfits == []
    record.gates["unlock"].set()
    await fail(app, handle.instance_id)
    assert record.names() == ["door", "gate", "look", "unlock door"]


@workflow
async def ends_at_a_gate(ctx: WorkflowContext) -> str:
    return await waits_at_a_gate("gate") + await act("last")


@workflow
async def asks_later_when_retried(ctx: WorkflowContext) -> str:
    if ctx.run > 1:
        await waits_at_a_gate("before")
    return await ends_at_a_gate()


@pytest.mark.parametrize("how", ["completed", "failed"])
async def test_the_end_of_a_child_that_comes_before_the_retried_run_asks_for_it(app: Romancy, how: str) -> None:
    """The parent was terminated while the child was at work. The child ends for it, and is not begun again."""
    record.gates.update({"gate": asyncio.Event(), "before": asyncio.Event()})
    handle = await app.start(asks_later_when_retried)
    child = await one_that_called(app, "ends_at_a_gate", "gate")
    assert await app.terminate(handle.instance_id)
    await app.retry(handle.instance_id)
    await until(lambda: "before" in record.names())
    record.broken.update({"last"} if how == "failed" else ())
    record.gates["gate"].set()
    await status_is(app, child, Status.FAILED if how == "failed" else Status.COMPLETED)
    await until(lambda: has_read_its_mail(app, handle.instance_id))
    record.gates["before"].set()

    if how == "failed":
        await fail(app, handle.instance_id)
    else:
        assert await handle.result(timeout=60) == "gatelast"
    assert record.names().count("gate") == 1


async def has_read_its_mail(app: Romancy, instance_id: str) -> bool:
    """Whether the run of a loaded instance has been given all messages to it."""
    access = vars(app)["_access"]
    (live, unread) = access.worker.driver.live.get(instance_id), lying_in(access.opened(), instance_id, most=1)
    return live is not None and (bool(live.unused) or not [one async for one in unread])


async def one_that_called(app: Romancy, workflow_name: str, what: str) -> str:
    """Return the only instance of this workflow, once it has called for that."""
    await until(lambda: what in record.names())
    named = [each async for each in app.iter_instances(workflow_name=workflow_name)]  # or as a part of its name
    (child,) = [each.instance_id for each in named if each.workflow_name == workflow_name]
    return child
