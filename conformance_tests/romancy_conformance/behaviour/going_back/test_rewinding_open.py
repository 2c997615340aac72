"""Rewinds of open instances, of parents and children, and of those that others hold or rewind as well."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from romancy import (
    Limit,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    workflow,
)
from romancy_conformance.behaviour.cast import (
    act,
    adds_up_abreast,
    does,
    hears,
    receives,
    record,
    waits,
    waits_for_its_child,
    works,
)
from romancy_conformance.behaviour.coded import CHAINS
from romancy_conformance.behaviour.failing import fail
from romancy_conformance.behaviour.going_back.journeys import abreast, gated, parts
from romancy_conformance.behaviour.going_back.logs import (
    has_events,
    has_received,
    is_told_to_pause,
    last_commit,
    rewinds,
)
from romancy_conformance.behaviour.waiting import joined, reason_is, status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio
_CAST = (abreast, gated, parts, adds_up_abreast, does, hears, receives, waits, waits_for_its_child, works)


@workflow
async def parent(ctx: WorkflowContext) -> list[str]:
    await act("one")
    told = await gated()
    await act("two")
    return [told]


@workflow
async def parent_of_named(ctx: WorkflowContext) -> str:
    await act("one")
    await gated.options(instance_id="named")()
    return await act("two")


@workflow(limits=[Limit("rewound one by one", concurrency=1)])
async def alone(ctx: WorkflowContext) -> str:
    await act("note")
    await act("second")
    return str((await ctx.wait_event("go")).data)


@workflow
async def asks(ctx: WorkflowContext) -> str:
    answer = await ctx.ask("Shall we?", name="rewound-decision", to="boss")
    await act(f"decided {answer}")
    return await act("ship")


async def test_one_that_waits_goes_back_and_hears_only_of_what_comes_then(app: Romancy) -> None:
    handle = await app.start(hears, "go", 3)
    await handle.signal("go", 1)
    await handle.signal("go", 2)
    await until(lambda: has_events(handle, 6))

    await handle.rewind(before="go:2")
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.send("go", 3)
    await until(lambda: has_received(handle, 3))
    await handle.signal("go", 4)

    assert await handle.result(timeout=60) == [1, 3, 4]


async def test_a_wait_behind_the_point_takes_no_message_any_more(app: Romancy, open_app: Open) -> None:
    handle = await app.start(does, ["note", "wait go", "ship"])
    await status_is(app, handle.instance_id, Status.WAITING)
    other = await app.start(waits, "go")

    await status_is(app, other.instance_id, Status.WAITING)
    record.broken.add("note")
    await handle.rewind(before="act:1", undo="keep")
    await fail(app, handle.instance_id)
    await app.send("go", 1)

    assert await other.result(timeout=60) == 1


async def test_one_at_work_lets_its_attempt_end_first(app: Romancy) -> None:
    handle = await app.start(does, ["note", "gate slow", "ship"])
    await until(lambda: "gate slow" in record.names())

    rewinding = asyncio.create_task(handle.rewind(before="waits_at_a_gate:1", undo="keep"))
    await until(lambda: is_told_to_pause(app, handle))
    assert not rewinding.done()
    record.gates["gate slow"].set()
    await rewinding

    assert await handle.result(timeout=60) == ["note", "gate slow", "ship"]
    names = record.names()  # it may come to the next step before it hears that it is paused
    assert names in (["note", "gate slow", "gate slow", "ship"], ["note", "gate slow", "ship", "gate slow", "ship"])
    assert len(set(record.keys("gate slow"))) == 2


async def test_what_ends_only_after_its_patience_goes_on_as_before(
    app: Romancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romancy.engine.outside.taking_back._PATIENCE", 0.05)
    handle = await app.start(does, ["note", "gate slow", "ship"])
    await until(lambda: "gate slow" in record.names())

    with pytest.raises(UsageError, match="must end first"):
        await handle.rewind(before="waits_at_a_gate:1", undo="keep")
    record.gates["gate slow"].set()

    assert await handle.result(timeout=60) == ["note", "gate slow", "ship"]
    assert record.names() == ["note", "gate slow", "ship"]
    assert await rewinds(handle) == 0


async def test_the_wait_for_a_worker_is_no_wait_for_the_database(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may last longer than the database may take to answer."""
    monkeypatch.setattr("romancy.engine.outside.taking_back._PATIENCE", 1.5)
    app = await open_app(answer_within=0.5)
    handle = await app.start(does, ["note", "gate slow", "ship"])
    await until(lambda: "gate slow" in record.names())

    with pytest.raises(UsageError, match="must end first"):
        await handle.rewind(before="waits_at_a_gate:1", undo="keep")
    record.gates["gate slow"].set()

    assert await handle.result(timeout=60) == ["note", "gate slow", "ship"]


async def test_one_whose_caller_gives_up_goes_on_as_before(app: Romancy) -> None:
    handle = await app.start(does, ["note", "gate slow", "ship"])
    await until(lambda: "gate slow" in record.names())

    rewinding = asyncio.create_task(handle.rewind(before="waits_at_a_gate:1", undo="keep"))
    await until(lambda: is_told_to_pause(app, handle))
    rewinding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rewinding
    record.gates["gate slow"].set()

    assert await handle.result(timeout=60) == ["note", "gate slow", "ship"]
    assert await rewinds(handle) == 0


async def test_what_completed_while_it_was_asked_is_refused_by_name_and_goes_on(app: Romancy) -> None:
    handle = await app.start(does, ["note", "gate slow", "ship"])
    await until(lambda: "gate slow" in record.names())

    rewinding = asyncio.create_task(handle.rewind(before="waits_at_a_gate:1"))
    await until(lambda: is_told_to_pause(app, handle))
    record.gates["gate slow"].set()
    with pytest.raises(UsageError, match=r"waits_at_a_gate:1(, act:2)? did something"):
        await rewinding

    assert await handle.result(timeout=60) == ["note", "gate slow", "ship"]
    assert record.names() == ["note", "gate slow", "ship"]


async def test_what_was_at_work_at_the_point_keeps_its_key(app: Romancy) -> None:
    handle = await app.start(abreast)
    await until(lambda: has_events(handle, 5))
    record.gates["slow"].set()
    await handle.result(timeout=60)

    await handle.rewind(before="act:2", undo="keep")

    assert await handle.result(timeout=60) == ["slow", "two"]
    assert Counter(record.names()) == Counter({"slow": 2, "one": 1, "two": 2})
    assert len(set(record.keys("slow"))) == 1
    assert len(set(record.keys("two"))) == 2


async def test_a_paused_instance_stays_paused(app: Romancy) -> None:
    handle = await app.start(does, ["note", "charge 1", "wait go", "ship"])
    await status_is(app, handle.instance_id, Status.WAITING)
    await handle.pause("the bank is down")
    await status_is(app, handle.instance_id, Status.PAUSED)

    await handle.rewind(before="charge:1", undo="keep")
    found = await app.get_instance(handle.instance_id)
    assert found is not None
    assert (found.status, found.error) == (Status.PAUSED, "the bank is down")
    assert record.names() == ["note", "charge 1"]
    await handle.unpause()
    await handle.signal("go", 1)

    assert await handle.result(timeout=60) == ["note", "charge 1", 1, "ship"]
    assert record.names() == ["note", "charge 1", "charge 1", "ship"]


async def test_one_that_was_asked_to_stop_is_left_alone(app: Romancy, open_app: Open) -> None:
    handle = await app.start(does, ["charge 1", "wait go"])
    await status_is(app, handle.instance_id, Status.WAITING)
    record.gates["refund charge 1"].clear()
    await handle.cancel()
    await until(lambda: "refund charge 1" in record.names())

    with pytest.raises(UsageError, match="rewind it when it has ended"):
        await handle.rewind(before="charge:1")
    record.gates["refund charge 1"].set()
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)
    await handle.rewind(before="charge:1")
    await handle.signal("go", 1)

    assert await handle.result(timeout=60) == ["charge 1", 1]


async def test_subscriptions_are_those_of_the_point(app: Romancy) -> None:
    handle = await app.start(receives, count=3)
    await joined(app, 1)
    await app.channel("orders").publish(1)
    await until(lambda: has_received(handle, 1))
    await app.channel("orders").publish(2)
    await until(lambda: has_received(handle, 2))

    seq = await last_commit(app, handle)
    await handle.rewind(at=seq - 1)
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.channel("orders").publish(3)
    await app.channel("orders").publish(4)

    assert await handle.result(timeout=60) == [1, 3, 4]


async def test_its_place_under_a_limit_is_given_back_and_asked_for_anew(app: Romancy) -> None:
    handle = await app.start(alone)
    await until(lambda: has_events(handle, 6))
    other = await app.start(alone)

    await handle.rewind(before="act:2", undo="keep")
    await handle.signal("go", 1)
    await other.signal("go", 2)

    assert await handle.result(timeout=60) == "1"
    assert await other.result(timeout=60) == "2"
    assert Counter(record.names()) == Counter({"note": 2, "second": 3})


async def test_a_question_is_asked_again(app: Romancy) -> None:
    handle = await app.start(asks)
    await status_is(app, handle.instance_id, Status.WAITING)
    (question,) = (await app.questions()).questions
    await app.answer(question.token, data=False)
    assert await handle.result(timeout=60) == "ship"

    await handle.rewind(before="rewound-decision:1", undo="keep")
    await status_is(app, handle.instance_id, Status.WAITING)
    (question,) = (await app.questions()).questions
    await app.answer(question.token, data=True)

    assert await handle.result(timeout=60) == "ship"
    assert record.names() == ["decided False", "ship", "decided True", "ship"]


async def test_a_child_that_was_open_at_the_point_and_has_ended_is_kept(app: Romancy) -> None:
    handle = await app.start(parts)
    record.gates["child"].set()
    first = await handle.result(timeout=60)

    await handle.rewind(before="act:2", undo="keep")

    assert await handle.result(timeout=60) == first
    assert Counter(record.names()) == Counter({"child": 1, "one": 1, "two": 2})


async def test_a_child_that_was_open_at_the_point_begins_again_if_asked(app: Romancy) -> None:
    handle = await app.start(parts)
    record.gates["child"].set()
    first = await handle.result(timeout=60)

    await handle.rewind(before="act:2", undo="keep", children="again")
    second = await handle.result(timeout=60)

    assert second[1] == first[1]
    assert second[0] != first[0]
    assert record.names().count("child") == 2


async def test_children_that_are_open_are_named(app: Romancy) -> None:
    handle = await app.start(parts)
    await until(lambda: "child" in record.names() and "two" in record.names())

    with pytest.raises(UsageError, match="were open there, and it has not heard of their ends"):
        await handle.rewind(before="act:2", undo="keep")
    with pytest.raises(UsageError, match="have not ended"):
        await handle.rewind(before="act:2", undo="keep", children="again")
    record.gates["child"].set()
    await handle.result(timeout=60)


async def test_a_child_that_ended_behind_the_point_is_work_of_its_own(app: Romancy) -> None:
    record.gates["child"].set()
    handle = await app.start(parent)
    assert await handle.result(timeout=60) == ["child"]

    with pytest.raises(UsageError, match=r"gated:1, act:2 did something"):
        await handle.rewind(before="gated:1")
    await handle.rewind(before="gated:1", undo="keep")

    assert await handle.result(timeout=60) == ["child"]
    assert Counter(record.names()) == Counter({"one": 1, "child": 2, "two": 2})
    assert len((await app.list_instances(parent=handle.instance_id)).instances) == 2


async def test_a_child_with_an_id_of_its_own_is_in_the_way(app: Romancy) -> None:
    record.gates["child"].set()
    handle = await app.start(parent_of_named)
    await handle.result(timeout=60)

    with pytest.raises(UsageError, match=r"named.*purge them first"):
        await handle.rewind(before="gated:1", undo="keep")
    await app.purge("named")
    await handle.rewind(before="gated:1", undo="keep")

    assert await handle.result(timeout=60) == "two"
    assert record.names().count("child") == 2


async def test_a_child_is_rewound_for_which_its_parent_waits(app: Romancy) -> None:
    handle = await app.start(waits_for_its_child)
    await status_is(app, "child", Status.WAITING)

    with pytest.raises(UsageError, match="nothing stands behind"):
        await app.rewind("child", at=await last_commit(app, app.handle("child")))
    await app.rewind("child", before="go:1")
    await status_is(app, "child", Status.WAITING)
    await app.handle("child").signal("go", 1)

    assert await handle.result(timeout=60) == 1


async def test_of_two_at_once_one_wins_and_the_other_hears_it(app: Romancy, open_app: Open) -> None:
    other = await open_app(worker=False)
    handle = await app.start(does, ["note", "ship"])
    await handle.result(timeout=60)

    record.gates["never"].clear()
    told = await asyncio.gather(
        *(each.rewind(handle.instance_id, before="act:2", undo="keep") for each in (app, other) for _ in range(3)),
        return_exceptions=True,
    )

    refused = [str(one) for one in told if one is not None]
    assert all(isinstance(one, UsageError) for one in told if one is not None), refused
    assert await handle.result(timeout=60) == ["note", "ship"]
    assert await rewinds(handle) == len(told) - len(refused) >= 1
    assert record.names().count("ship") == 1 + await rewinds(handle)


async def test_an_app_without_a_worker_rewinds(app: Romancy, open_app: Open) -> None:
    handle = await app.start(does, ["note", "gate slow", "ship"])
    await until(lambda: "gate slow" in record.names())
    other = await open_app(worker=False)

    rewinding = asyncio.create_task(
        other.handle(handle.instance_id, does).rewind(before="waits_at_a_gate:1", undo="keep")
    )
    await until(lambda: is_told_to_pause(app, handle))
    record.gates["gate slow"].set()
    await rewinding

    assert await handle.result(timeout=60) == ["note", "gate slow", "ship"]
    names = record.names()  # as above
    assert names in (["note", "gate slow", "gate slow", "ship"], ["note", "gate slow", "ship", "gate slow", "ship"])


async def test_one_that_nobody_runs_is_rewound_and_waits_for_a_worker(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(does, ["note", "wait go", "ship"])
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.drain()
    other = await open_app(worker=False)
    await other.rewind(handle.instance_id, before="act:1", undo="keep")
    assert await other.handle(handle.instance_id).status() is Status.RUNNING

    third = await open_app()
    await third.handle(handle.instance_id).signal("go", 1)

    assert await third.handle(handle.instance_id, does).result(timeout=60) == ["note", 1, "ship"]
    assert record.names() == ["note", "note", "ship"]


async def test_what_a_worker_has_begun_that_is_gone_may_stand(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(does, ["note", "gate slow", "ship"])
    await until(lambda: "gate slow" in record.names())
    await app.drain(0)
    other = await open_app(worker=False)

    with pytest.raises(UsageError, match="waits_at_a_gate:1 did something behind the point"):
        await other.rewind(handle.instance_id, before="waits_at_a_gate:1")
    (doubtful,) = (await other.plan_rewind(handle.instance_id, before="act:1")).stands[1:]

    assert (doubtful.id, doubtful.outcome) == ("waits_at_a_gate:1", "unknown")
    undoing = await other.plan_rewind(handle.instance_id, before="waits_at_a_gate:1", undo="compensate")
    assert (undoing.stands, undoing.undone) == ((doubtful,), ())
    record.gates["gate slow"].set()
    await other.rewind(handle.instance_id, before="waits_at_a_gate:1", undo="keep")
    third = await open_app()
    assert await third.handle(handle.instance_id, does).result(timeout=60) == ["note", "gate slow", "ship"]


async def test_what_may_stand_does_so_also_after_a_rewind_that_keeps_its_key(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(does, ["note", "gate slow", "ship"])
    await until(lambda: "gate slow" in record.names())
    called = await last_commit(app, handle)
    await app.drain(0)
    other = await open_app(worker=False)
    await other.rewind(handle.instance_id, at=called)

    with pytest.raises(UsageError, match="waits_at_a_gate:1 did something behind the point"):
        await other.rewind(handle.instance_id, before="waits_at_a_gate:1")


async def test_a_stuck_instance_goes_back_to_before_its_code_changed(open_app: Open) -> None:
    @workflow(name="rewound-changes")
    async def older(ctx: WorkflowContext) -> str:
        await act("note")
        await act("older")
        return str((await ctx.wait_event("go")).data)

    @workflow(name="rewound-changes")
    async def newer(ctx: WorkflowContext) -> str:
        await act("note")
        await act("newer")
        return str((await ctx.wait_event("go")).data)

    app = await open_app(workflows=[older])
    handle = await app.start(older.options(instance_id="changes"))
    await status_is(app, "changes", Status.WAITING)
    await app.drain()
    app = await open_app(workflows=[newer])
    await app.signal("changes", "go", 1)
    await reason_is(app, "changes", "")

    await app.rewind("changes", before="act:2", undo="keep")
    await app.signal("changes", "go", 2)

    assert await app.handle("changes", newer).result(timeout=60) in ("1", "2")
    assert record.names() == ["note", "older", "newer"]
    assert handle.instance_id == "changes"


@pytest.mark.parametrize("chain", CHAINS)
async def test_sealed_logs(open_app: Open, chain: str) -> None:
    app = await open_app(codecs=CHAINS[chain])
    handle = await app.start(does, ["note", "ship"])
    await handle.result(timeout=60)

    await handle.rewind(before="act:2", undo="keep")

    assert await handle.result(timeout=60) == ["note", "ship"]
    assert record.names() == ["note", "ship", "ship"]


async def test_ten_thousand_steps(app: Romancy) -> None:
    handle = await app.start(adds_up_abreast, 10_000)
    first = await handle.result(timeout=300)

    await handle.rewind(at=await last_commit(app, handle) - 1, undo="keep")

    assert await handle.result(timeout=300) == first


@workflow
async def carries(ctx: WorkflowContext, parts: int) -> int:
    told = [await act("x" * 600_000) for _ in range(parts)]
    await act("ship")
    return len(told)


async def test_a_log_that_is_too_long_for_one_commit_is_refused_by_name(app: Romancy) -> None:
    handle = await app.start(carries, 4)
    await handle.result(timeout=60)

    with pytest.raises(UsageError, match=r"one commit holds.*Fork it"):
        await handle.rewind(before="act:5", undo="keep")
    await handle.rewind(before="act:3", undo="keep")

    assert await handle.result(timeout=60) == 4


async def test_why_and_the_timeline_tell_it(app: Romancy) -> None:
    handle = await app.start(does, ["note", "charge 1", "wait go"])
    await status_is(app, handle.instance_id, Status.WAITING)

    await handle.rewind(before="charge:1", undo="keep")
    await status_is(app, handle.instance_id, Status.WAITING)

    assert "go" in str(await handle.explain())
