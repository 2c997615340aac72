"""Calls that return a default when they have failed for good: recorded, replayed, remembered, undone like failures."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from romancy.activity import activity, compensation
from romancy.context import WorkflowContext
from romancy.core import ActivityFailed, ActivityScheduled, CompensationScheduled, DefaultTaken, decode_commit, replay
from romancy.errors import NonDeterminismError, RetryExhaustedError, SerializationError, TerminalError
from romancy.retry import RetryPolicy
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from tests.core.driver import World
from tests.core.retries import Retries, Shop, agree, failed, lend, note, ship

undone: list[str] = []


@compensation
async def undo(what: str) -> None:
    undone.append(what)


@activity(retry=RetryPolicy.fixed(2, 1), compensation=undo)
async def look_up(what: str) -> int:
    if what == "broken":
        raise ConnectionError("nobody answers")
    return len(what)


@activity(retry=RetryPolicy.none(), compensation=undo, compensate="attempted")
async def reach_out(what: str) -> int:
    raise TerminalError("nobody is there")


@workflow
async def defaults(ctx: WorkflowContext) -> list[Any]:
    guess = look_up.or_default(7)
    return [await guess("lamp"), await guess("broken"), *await asyncio.gather(guess("broken"), look_up("chair"))]


@workflow
async def nothing(ctx: WorkflowContext) -> list[Any]:
    return [await look_up.or_default(None)("broken"), await reach_out.options(id="mine").or_default(None)("a")]


@workflow
async def undoing(ctx: WorkflowContext) -> None:
    await look_up.or_default(0)("fine")
    await look_up.or_default(0)("broken")
    await reach_out.or_default(0)("attempted")
    raise TerminalError("enough")


@workflow
async def unfit(ctx: WorkflowContext) -> str:
    try:
        await look_up.or_default("seven")("lamp")
    except SerializationError as error:
        return str(error)
    return "stored"


@workflow
async def gave_up(ctx: WorkflowContext) -> str:
    task = asyncio.ensure_future(look_up.or_default(3)("broken"))
    await ctx.sleep(0.5)
    task.cancel()
    try:
        return f"returned {await task}"
    except asyncio.CancelledError:
        return "cancelled"


def test_the_last_failure_is_answered_by_the_default_also_after_a_crash() -> None:
    world = World(Scenario(defaults))

    assert [4, 7, 7, 5] == world.result()
    assert ["look_up:2", "look_up:3"] == sorted(event.id for event in world.log() if isinstance(event, ActivityFailed))
    assert {"look_up:2", "look_up:3"} == {event.id for event in world.log() if isinstance(event, DefaultTaken)}
    assert 2 == world.kinds().count("ActivityAttemptFailed")
    world.check_every_cut()


def test_none_is_a_default_of_every_type() -> None:
    world = World(Scenario(nothing))

    assert [None, None] == world.result()
    world.check_every_cut()


def test_a_call_that_returned_its_default_is_undone_as_a_failed_one_is() -> None:
    undone.clear()
    world = World(Scenario(undoing))

    assert Status.FAILED is world.finish().status
    assert ["attempted", "fine"] == undone
    assert ["reach_out:1", "look_up:1"] == [
        event.activity_id for event in world.log() if isinstance(event, CompensationScheduled)
    ]
    world.check_every_cut()


def test_a_default_that_is_not_of_the_type_is_refused_before_anything_is_written() -> None:
    world = World(Scenario(unfit))

    assert world.result().startswith("default of activity 'look_up': expected ")
    assert not [event for event in world.log() if isinstance(event, ActivityScheduled)]


def test_a_cancelled_call_gets_no_default() -> None:
    world = World(Scenario(gave_up))

    assert "cancelled" == world.result()
    assert "DefaultTaken" not in world.kinds()
    world.check_every_cut()


# ── replays ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@workflow(name="changing")
async def with_seven(ctx: WorkflowContext) -> int | None:
    return await look_up.or_default(7)("broken")


@workflow(name="changing")
async def with_eight(ctx: WorkflowContext) -> int | None:
    return await look_up.or_default(8)("broken")


@workflow(name="changing")
async def without(ctx: WorkflowContext) -> int | None:
    try:
        return await look_up("broken")
    except RetryExhaustedError:
        return None


def recorded(world: World) -> list[Any]:
    world.result()
    return [decode_commit(body) for _, body in world.commits]


def test_a_replay_returns_what_the_log_has_and_not_what_the_code_names_today() -> None:
    log = recorded(World(Scenario(with_seven)))

    replayed = replay(with_eight, log, instance_id="main")
    assert Status.COMPLETED is replayed.status
    assert replayed.outcome is not None
    assert replayed.outcome.result == Raw(b"7")


def test_code_that_gains_or_loses_the_default_no_longer_fits() -> None:
    """The body goes another way. `ctx.patched` keeps the old one."""
    with pytest.raises(NonDeterminismError, match=r"the log says: +default of activity look_up:1"):
        replay(without, recorded(World(Scenario(with_seven))), instance_id="main")
    with pytest.raises(NonDeterminismError, match=r"the code now does: default of activity look_up:1"):
        replay(with_seven, recorded(World(Scenario(without))), instance_id="main")


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def order(ctx: WorkflowContext) -> list[Any]:
    return [await note.or_default(None)(1), await lend.or_default("nothing")(2), await ship(1)]


def test_a_retry_gets_the_default_again_unless_it_was_undone() -> None:
    """What came after the call may depend on it. The retry undoes what an attempt may have done."""
    shop = Shop()
    shop.broken |= {"note", "lend"}
    one = failed(order, shop=shop)
    assert [] == [name for name, *_ in shop.undone if name == "note"]

    one.retry()

    assert [None, "lend 1", "ship 2"] == one.result()
    assert ["lend", "ship"] == shop.names()
    agree(one)


@workflow
async def twice_retried(ctx: WorkflowContext) -> list[Any]:
    return [await note.or_default("no note")(1), await ship(1)]


def test_a_second_retry_has_it_from_the_first_and_does_not_name_it_as_done() -> None:
    shop = Shop()
    shop.broken |= {"note"}
    one = failed(twice_retried, shop=shop)
    shop.broken |= {"ship"}
    one.retry()
    assert one.finish().status is Status.FAILED
    shop.broken -= {"ship"}

    one.retry()

    assert ["no note", "ship 2"] == one.result()
    assert [] == [name for name in shop.names() if name == "note"]
    agree(one)


@workflow
async def no_default_any_more(ctx: WorkflowContext) -> list[Any]:
    return [await note(1), await ship(1)]


def test_a_retry_whose_code_names_no_default_gets_the_recorded_one_as_well() -> None:
    """A result is remembered too, whatever the code has become."""
    shop = Shop()
    shop.broken |= {"note", "ship"}
    one = Retries(twice_retried, shop=shop)
    assert one.finish().status is Status.FAILED
    shop.broken.clear()

    one.retry(no_default_any_more)

    assert "no note" == one.result()[0]
    assert 1 == [name for name, *_ in shop.calls].count("note")
    agree(one)


@workflow
async def fails_unless_default(ctx: WorkflowContext) -> list[Any]:
    return [await note.or_default("no note")(1)]


def test_a_failure_that_was_raised_is_no_default_for_a_retry_that_has_one() -> None:
    shop = Shop()
    shop.broken |= {"note"}
    one = Retries(no_default_any_more, shop=shop)
    assert one.finish().status is Status.FAILED
    shop.broken.clear()

    one.retry(fails_unless_default)

    assert ["note 2"] == one.result()
    agree(one)


@workflow
async def late(ctx: WorkflowContext) -> list[Any]:
    guess = note.or_default("no note")
    return list(await asyncio.gather(guess(1), lend.or_default(None)(2), guess(1)))


def test_calls_side_by_side_each_get_their_own() -> None:
    shop = Shop()
    shop.broken |= {"note"}
    one = Retries(late, shop=shop)

    assert ["no note", "lend 2", "no note"] == one.result()


@pytest.mark.anyio
async def test_outside_of_a_workflow_the_default_answers_too() -> None:
    assert 7 == await look_up.or_default(7)("broken")
    assert 4 == await look_up.or_default(7)("lamp")
    assert await look_up.or_default(None)("broken") is None
    with pytest.raises(ConnectionError):
        await look_up("broken")


def test_the_event_leaves_out_a_default_of_none() -> None:
    assert msgspec.json.encode(DefaultTaken("a:1")) == b'{"type":"DefaultTaken","id":"a:1"}'
