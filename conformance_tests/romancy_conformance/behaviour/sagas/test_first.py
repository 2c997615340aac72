"""The first of several calls: what the others have done is undone while the body goes on, once, in reverse order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    Status,
    TerminalError,
    TooManyFailedError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.core import CompensationScheduled
from romancy.engine import history
from romancy.testing import crash_at_every_commit
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy import Handle
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

told: list[str] = []
keys: set[str] = set()
"""The idempotency keys under which something was done: an attempt that is repeated tells it once."""
broken: set[str] = set()
gates: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _nothing_was_told() -> None:
    _clear()


def _clear() -> None:
    told.clear()
    keys.clear()
    broken.clear()
    gates.clear()


def tell(what: str) -> None:
    key = activity_context().idempotency_key
    if key not in keys:
        keys.add(key)
        told.append(what)


def gate(name: str) -> asyncio.Event:
    return gates.setdefault(name, asyncio.Event())


@compensation(retry=RetryPolicy.fixed(2, 0.01))
async def give_back(result: str, item: str) -> None:
    if item in broken:
        raise ConnectionError(f"nobody takes the {item}")
    if f"held {item}" in gates:
        await gates[f"held {item}"].wait()
    tell(f"gave back {result}")


@activity(compensation=give_back, retry=RetryPolicy.none())
async def take(item: str) -> str:
    if item.startswith("late"):
        try:
            await gate(item).wait()
        except asyncio.CancelledError:
            gate(f"{item} was stopped").set()  # and it completes all the same
    if item.startswith("no"):
        raise TerminalError(f"{item} is left")
    tell(f"took {item}")
    return f"the {item}"


@activity
async def call_off(item: str) -> None:
    tell(f"called off {item}")


@activity
async def pay(item: str) -> str:
    if "pay" in broken:
        raise TerminalError("the bank is closed")
    tell(f"paid {item}")
    return item


async def slow(ctx: WorkflowContext, *items: str) -> str:
    for item in items:
        await take(item)
    await ctx.sleep(3600)
    return "slow"


@workflow
async def chooses(ctx: WorkflowContext, how: str) -> str:
    await take("ticket")
    ready: list[str] = []

    async def lost() -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(take("lamp"))
        ctx.on_undo(call_off, "the lorry")
        await take("sofa")
        ready.append("lost")
        return await slow(ctx, *(["late chair"] if how == "late" else []))

    async def won() -> str:
        await ctx.until(lambda: ready)
        if how == "late":
            await ctx.wait_event("go")
        await take("bed")
        return "bed"

    async def fails() -> str:
        await take("rug")
        return await take("no rug")

    try:
        best = await (ctx.first(fails(), take("no bed")) if how == "none" else ctx.first(lost(), won()))
    except TooManyFailedError:
        best = "none"
    except RetryExhaustedError as error:
        best = f"{error} {error.chain[-1].type}"
    return await pay(best)


LOST = ["gave back the sofa", "called off the lorry", "gave back the lamp"]
DONE = ["took ticket", "took lamp", "took sofa", "took bed"]


async def test_what_the_losers_have_done_is_undone_in_reverse_order(open_app: Open) -> None:
    app = await open_app()

    assert await app.run(chooses, "first") == "bed"

    assert told == [*DONE, *LOST, "paid bed"]


async def test_a_later_failure_undoes_the_rest_and_nothing_twice(open_app: Open) -> None:
    broken.add("pay")
    app = await open_app()
    handle = await app.start(chooses, "first")
    with pytest.raises(WorkflowFailedError):
        await handle.result()

    assert told == [*DONE, *LOST, "gave back the bed", "gave back the ticket"]
    broken.clear()
    told.clear()
    await app.retry(handle.instance_id)
    assert await handle.result() == "bed"
    undone = [one for one in told if one not in DONE]
    assert undone[-1] == "paid bed"
    assert sorted(undone[:-1]) in (sorted(LOST), [])  # those that are asked anew may not have begun


async def test_what_completes_although_it_was_stopped_is_undone_too(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(chooses, "late")
    await until(lambda: "late chair" in gates)
    await handle.signal("go")

    assert await handle.result() == "bed"
    assert told == [*DONE, "took late chair", "gave back the late chair", *LOST, "paid bed"]


async def test_if_all_fail_what_they_have_done_is_undone(open_app: Open) -> None:
    app = await open_app()

    assert await app.run(chooses, "none") == "none"

    assert told == ["took ticket", "took rug", "gave back the rug", "paid none"]


async def test_an_undo_that_fails_for_good_is_raised_behind_the_others(open_app: Open, store: Store) -> None:
    broken.update({"sofa", "pay"})
    app = await open_app()
    handle = await app.start(chooses, "first")
    with pytest.raises(WorkflowFailedError) as failed:
        await handle.result()

    assert told == [*DONE, *LOST[1:], "gave back the bed", "gave back the ticket"]
    assert "not compensated: compensate:take:3" in str(failed.value)
    scheduled = await _undos(store, handle)
    assert [one.activity_id for one in scheduled if one.early] == ["take:3", "undo:call_off:1", "take:2"]


@workflow
async def tells(ctx: WorkflowContext) -> str:
    try:
        return await ctx.first(slow(ctx, "sofa"), _bed(ctx))
    except RetryExhaustedError as error:
        return f"{error} / {error.chain[-1].type}"


async def _bed(ctx: WorkflowContext) -> str:
    await ctx.wait_event("bed")
    return "bed"


async def test_the_body_is_told_of_an_undo_that_failed(open_app: Open) -> None:
    broken.add("sofa")
    app = await open_app()
    handle = await app.start(tells)
    await until(lambda: told == ["took sofa"])
    await handle.signal("bed")

    said = await handle.result()
    assert said.startswith("the undo compensate:take:1 failed after 2 attempt(s)")
    assert said.endswith("/ ConnectionError")


async def test_a_cancellation_during_an_undo_undoes_the_rest_once(open_app: Open) -> None:
    held = gate("held sofa")
    app = await open_app()
    handle = await app.start(chooses, "first")
    await until(lambda: told == DONE)
    assert await handle.status() is Status.RUNNING
    await handle.cancel()
    await status_is(app, handle.instance_id, Status.CANCELLING)
    held.set()

    with pytest.raises(WorkflowCancelledError):
        await handle.result()
    assert told[4] == LOST[0]
    assert sorted(told[4:]) == sorted([*LOST, "gave back the bed", "gave back the ticket"])


@workflow
async def goes_on(ctx: WorkflowContext, number: int) -> int:
    await ctx.first(slow(ctx, f"lamp {number}"), _after(ctx, number))
    return number if number == 3 else goes_on.recur(number + 1)


async def _after(ctx: WorkflowContext, number: int) -> int:
    await take(f"bed {number}")
    await ctx.sleep(0.05)
    return number


async def test_of_each_run_what_the_losers_have_done_is_undone_before_the_next_one(open_app: Open) -> None:
    app = await open_app()

    assert await app.run(goes_on, 1) == 3

    assert [one for one in told if "lamp" in one] == [
        text for number in (1, 2, 3) for text in (f"took lamp {number}", f"gave back the lamp {number}")
    ]


@workflow
async def nested(ctx: WorkflowContext) -> str:
    has_sofa = False

    async def inner() -> str:
        nonlocal has_sofa
        await ctx.first(slow(ctx, "lamp"), _after(ctx, 1))
        await take("sofa")
        has_sofa = True
        return await slow(ctx)

    async def outer() -> str:
        await ctx.until(lambda: has_sofa)
        return "outer"

    return await ctx.first(inner(), outer())


async def test_one_within_another(open_app: Open) -> None:
    app = await open_app()

    assert await app.run(nested) == "outer"

    assert [one for one in told if one.startswith("gave")] == [
        "gave back the lamp", "gave back the sofa", "gave back the bed 1",
    ]  # fmt: skip


@workflow
async def nothing_to_undo(ctx: WorkflowContext) -> str:
    return await ctx.first(pay("a"), slow(ctx))


async def test_without_anything_to_undo_there_is_nothing_more_in_the_log(open_app: Open, store: Store) -> None:
    app = await open_app()
    handle = await app.start(nothing_to_undo)

    assert await handle.result() == "a"
    assert await _undos(store, handle) == []


@pytest.mark.parametrize("how", ["first", "none", "fails"])
async def test_a_crash_at_every_commit(how: str) -> None:
    def prepare(_: Romancy) -> None:
        _clear()
        if how == "fails":
            broken.add("pay")

    crashes = await crash_at_every_commit(chooses.bind(how), prepare=prepare, effects=lambda: list(told))
    assert len(crashes) > 15


async def _undos(store: Store, handle: Handle[Any]) -> list[CompensationScheduled]:
    events = [event async for _, commit in history(store, handle.instance_id) for event in commit]
    return [event for event in events if isinstance(event, CompensationScheduled)]
