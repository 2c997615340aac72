"""Undos that a body registers: each has its place in the reverse order, is recorded, and can be taken back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Raw

from romancy.activity import activity, compensation
from romancy.attempt_context import ActivityContext
from romancy.context import WorkflowContext
from romancy.core import (
    ActivityCancelled,
    ActivityScheduled,
    CancelActivity,
    CancelRequested,
    CompensationCompleted,
    CompensationScheduled,
    Recall,
    Run,
    StartCompensation,
    UndoRegistered,
    UndoTakenBack,
    WorkflowParked,
    decode_commit,
    encode_commit,
    replay,
)
from romancy.errors import NonDeterminismError, TerminalError, UsageError
from romancy.retry import RetryPolicy
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from tests.core.driver import World
from tests.core.retries import Retries, Shop, agree, charge, failed, note, ship

told: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    told.clear()


@compensation
async def give_up(item: str) -> None:
    told.append(f"give up {item}")


@activity(compensation=give_up)
async def hold(item: str) -> str:
    return item


@activity
async def book(item: str) -> str:
    return f"booking of {item}"


@activity
async def cancel(booking: str, *, fee: int = 0) -> None:
    told.append(f"cancel {booking}" + (f" for {fee}" if fee else ""))


@activity(retry=RetryPolicy.none())
async def fail() -> None:
    raise TerminalError("no money")


@workflow
async def trip(ctx: WorkflowContext) -> None:
    await hold("seat")
    flight = await book("flight")
    ctx.on_undo(cancel, flight, fee=5)
    hotel = await book("hotel")
    tentative = ctx.on_undo(cancel, hotel)
    await hold("table")
    tentative.take_back()
    tentative.take_back()
    ctx.on_undo(cancel, "car")
    await fail()


def test_each_has_its_place_in_the_reverse_order_and_what_was_taken_back_has_none() -> None:
    world = World(Scenario(trip))

    assert world.finish().status is Status.FAILED

    assert ["cancel car", "give up table", "cancel booking of flight for 5", "give up seat"] == told
    log = world.log()
    registered = [event for event in log if isinstance(event, UndoRegistered)]
    assert ["undo:cancel:1", "undo:cancel:2", "undo:cancel:3"] == [event.id for event in registered]
    assert ["book:1", "book:2", "hold:2"] == [event.of for event in registered]
    assert ["undo:cancel:2"] == [event.id for event in log if isinstance(event, UndoTakenBack)]
    undone = [event.activity_id for event in log if isinstance(event, CompensationScheduled)]
    assert ["undo:cancel:3", "hold:2", "undo:cancel:1", "hold:1"] == undone
    world.check_every_cut()


@workflow
async def leaves(ctx: WorkflowContext, how: str) -> str:
    ctx.on_undo(cancel, await book(how))
    if how == "completes":
        return "done"
    try:
        await ctx.sleep(3600)
    finally:
        ctx.on_undo(cancel, "in finally")
    return "slept"


@pytest.mark.parametrize(
    ("how", "undone"), [("completes", []), ("cancelled", ["cancel in finally", "cancel booking of cancelled"])]
)
def test_an_end_without_failure_undoes_nothing_and_a_cancellation_undoes(how: str, undone: list[str]) -> None:
    world = World(Scenario(leaves, (how,), cancel_at=10))

    world.finish()

    assert undone == told
    world.check_every_cut()


@workflow
async def together(ctx: WorkflowContext) -> None:
    async def leg(item: str) -> None:
        ctx.on_undo(cancel, await quick(item) if item == "early" else await book(item))

    await asyncio.gather(leg("late"), leg("early"))
    await fail()


@activity
async def quick(item: str) -> str:
    return item


def test_registered_in_the_coroutine_of_its_call_it_belongs_to_that_call() -> None:
    world = World(Scenario(together, durations={"book": 60, "quick": 1}))

    assert world.finish().status is Status.FAILED

    assert ["cancel booking of late", "cancel early"] == told
    assert ["quick:1", "book:1"] == [event.of for event in world.log() if isinstance(event, UndoRegistered)]
    world.check_every_cut()


@workflow
async def rounds(ctx: WorkflowContext, left: int) -> None:
    ctx.on_undo(cancel, await book(f"round {left}"))
    if left:
        rounds.recur(left - 1)
    await fail()


def test_a_run_that_continues_as_new_leaves_its_undos_behind() -> None:
    world = World(Scenario(rounds, (2,)))

    assert world.finish().status is Status.FAILED

    assert ["cancel booking of round 0"] == told
    world.check_every_cut()


@workflow
async def inner(ctx: WorkflowContext) -> None:
    ctx.on_undo(cancel, "inner")
    await ctx.sleep(3600)


@workflow
async def outer(ctx: WorkflowContext) -> None:
    ctx.on_undo(cancel, "outer")
    await ctx.start(inner)
    await ctx.sleep(1)
    await fail()


def test_a_child_undoes_its_own_first() -> None:
    world = World(Scenario(outer, children=(inner,)))

    assert world.finish().status is Status.FAILED

    assert ["cancel inner", "cancel outer"] == told


@activity(retry=RetryPolicy.fixed(2, 1.0))
async def jammed(item: str) -> None:
    told.append(f"tried {item}")
    raise ConnectionError("not now")


@workflow
async def half_undone(ctx: WorkflowContext) -> None:
    ctx.on_undo(cancel, "first")
    ctx.on_undo(jammed, "second")
    ctx.on_undo(cancel, "third")
    await fail()


def test_one_that_fails_for_good_is_named_and_the_others_are_carried_out() -> None:
    world = World(Scenario(half_undone))

    outcome = world.finish()

    assert ["cancel third", "tried second", "tried second", "cancel first"] == told
    assert ("compensate:undo:jammed:1",) == outcome.uncompensated
    world.check_every_cut()


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────────────────


@activity
async def unship(x: str) -> None: ...


@activity
async def last() -> str: ...  # type: ignore[empty-body]


@workflow
async def order(ctx: WorkflowContext) -> list[str]:
    noted = await note(1)
    shipped = await ship(1)
    ctx.on_undo(unship, shipped)
    charged = await charge(1)
    await last()
    return [noted, shipped, charged]


def test_a_retry_does_again_what_a_registered_undo_has_undone_and_remembers_the_rest() -> None:
    shop = Shop()
    one = failed(order, shop=shop, broken="last")
    assert ["charge:1", "undo:unship:1"] == [id for id, _, _ in shop.gone]

    one.retry()

    assert ["note 1", "ship 1", "charge 2"] == one.result()
    assert ["ship", "charge", "last"] == shop.names()
    agree(one)


def test_a_retry_that_fails_again_undoes_again_what_it_did_again() -> None:
    shop = Shop()
    one = failed(order, shop=shop, broken="last")
    shop.broken.add("last")
    shop.gone.clear()
    one.retry()
    one.fail()

    assert [("charge:1", 1), ("undo:unship:1", "ship 1")] == [(id, args) for id, args, _ in shop.gone]
    shop.broken.clear()
    shop.calls.clear()
    one.retry()
    one.finish()

    assert ["ship", "charge", "last"] == shop.names()
    agree(one)


@pytest.mark.parametrize(("unsure", "again"), [("done", ["charge", "last"]), ("undone", ["ship", "charge", "last"])])
def test_after_an_undo_that_failed_a_person_says_whether_its_call_stands(unsure: str, again: list[str]) -> None:
    shop = Shop()
    shop.broken |= {"last", "unship"}
    one = Retries(order, shop=shop)
    one.fail()
    recall = Recall("one")
    for event in one.log():
        recall.follow(event)
    assert ["ship:1@1"] == [item.id for item in recall.unsure()]
    shop.broken.clear()
    shop.calls.clear()

    one.retry(unsure=unsure)
    one.finish()

    assert again == shop.names()
    agree(one)


def test_what_a_retry_remembers_is_undone_once_if_it_fails_again() -> None:
    """Its call stood, as a person said. The retry registers the undo itself, once."""
    shop = Shop()
    shop.broken |= {"last", "unship"}
    one = Retries(order, shop=shop)
    one.fail()
    shop.broken.remove("unship")
    shop.gone.clear()

    one.retry(unsure="done")
    one.fail()

    assert ["charge:1", "undo:unship:1"] == [id for id, _, _ in shop.gone]


@workflow
async def before_any_call(ctx: WorkflowContext) -> str:
    ctx.on_undo(unship, "everything")
    noted = await note(1)
    await last()
    return noted


def test_one_that_belongs_to_no_call_makes_a_retry_forget_nothing() -> None:
    shop = Shop()
    one = failed(before_any_call, shop=shop, broken="last")
    assert ["undo:unship:1"] == [id for id, _, _ in shop.gone]

    one.retry()

    assert "note 1" == one.result()
    assert ["last"] == shop.names()
    agree(one)


# ── without fitting code ────────────────────────────────────────────────────────────────────────────────────────


@workflow(name="trip")
async def trip_of_today(ctx: WorkflowContext) -> None:
    await book("nothing")


def test_without_its_code_an_instance_carries_them_out_from_its_log() -> None:
    world = World(Scenario(trip))
    while not any(isinstance(event, UndoRegistered) and event.id == "undo:cancel:2" for event in world.log()):
        world.step()
    history = [decode_commit(body) for _, body in world.commits]
    with pytest.raises(NonDeterminismError):
        Run(trip_of_today, instance_id="main").replay(history)
    known: dict[str, Any] = {each.name: each for each in (hold, book, cancel, fail)}
    run = Run(trip_of_today, instance_id="main", activities=known, known=known)
    run.replay(history)
    run.activate([CancelRequested(world.now, "stuck")])
    (stopping,) = run.outstanding()
    assert isinstance(stopping, CancelActivity)
    run.activate([ActivityCancelled(world.now, stopping.activity_id)])
    undone: list[str] = []
    while run.outcome() is None:
        (effect,) = run.outstanding()
        assert isinstance(effect, StartCompensation)
        undone.append(effect.activity_id)
        run.activate([CompensationCompleted(world.now, effect.compensation_id)])

    assert ["undo:cancel:2", "undo:cancel:1", "hold:1"] == undone


def test_other_arguments_are_a_difference_and_a_later_parameter_is_none() -> None:
    def recorded(args: Raw) -> list[list[Any]]:
        history = [decode_commit(body) for _, body in world.commits]
        return [
            [
                UndoRegistered(event.id, event.name, args, event.of) if isinstance(event, UndoRegistered) else event
                for event in commit
            ]
            for commit in history
        ]

    world = World(Scenario(leaves, ("completes",)))
    world.finish()

    replay(leaves, recorded(Raw(b'{"booking":"booking of completes"}')), instance_id="main")
    with pytest.raises(NonDeterminismError, match="registration of the undo cancel"):
        replay(leaves, recorded(Raw(b'{"booking":"another"}')), instance_id="main")


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────


@activity(pass_context=True)
async def with_context(ctx: ActivityContext, item: str) -> None: ...


@activity(heartbeat_timeout=5)
async def watched(item: str) -> None: ...


def plain(item: str) -> None: ...


@pytest.mark.parametrize(
    ("undo", "words"),
    [
        (plain, "takes an activity, and plain is none; declare it with @activity"),
        (give_up, "takes an activity, and give_up is none; declare it with @activity instead"),
        (trip, "trip is none"),
        (with_context, "cannot be registered as an undo"),
        (watched, "cannot be registered as an undo"),
        (cancel.or_default(None), "Register it without or_default()"),
        (cancel.options(id="mine"), "Register it without options(id=…)"),
        (cancel, "'nonsense'"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_cannot_be_an_undo_is_refused_where_it_is_registered(undo: Any, words: str) -> None:
    @workflow
    async def wrong(ctx: WorkflowContext) -> str:
        try:
            ctx.on_undo(undo, "x", **({"nonsense": 1} if undo is cancel else {}))
        except (UsageError, TypeError) as error:
            return str(error)
        return "accepted"

    world = World(Scenario(wrong))
    outcome = world.finish()

    assert outcome.result is not None
    assert words in bytes(outcome.result).decode()
    assert not any(isinstance(event, UndoRegistered | WorkflowParked) for event in world.log())


def test_the_log_reads_back() -> None:
    events: list[Any] = [ActivityScheduled("a", "a", Raw(b"{}")), UndoRegistered("undo:a:1", "a", Raw(b"{}"), "b:1")]
    assert events == decode_commit(encode_commit(events))
