"""Rewinds of ended instances: under its id, one goes on from a point of its log as if nothing stood behind that."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from romancy import (
    InstanceNotFoundError,
    Romancy,
    Status,
    TerminalError,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    entity,
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
from romancy_conformance.behaviour.failing import fail, failed
from romancy_conformance.behaviour.going_back.logs import last_commit, rewinds
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio
_CAST = (adds_up_abreast, does, hears, receives, waits, waits_for_its_child, works)

STEPS = ["note", "charge 1", "wait go", "ship"]


@workflow
async def catches(ctx: WorkflowContext) -> list[str]:
    """Goes on behind a failure and a time limit, which a rewind must not try again."""
    done: list[str] = []
    try:
        done.append(await act("broken"))
    except TerminalError as error:
        done.append(type(error).__name__)
    try:
        async with asyncio.timeout(0.02):
            await ctx.wait_event("never")
    except TimeoutError:
        done.append("late")
    return [*done, await act(f"at {ctx.now()} {ctx.uuid4()}"), await act("ship")]


@workflow
async def turns(ctx: WorkflowContext, left: int) -> int:
    await act(f"turn {left}")
    if left:
        turns.recur(left - 1)
    await act("last")
    return ctx.run


@workflow
async def streams(ctx: WorkflowContext) -> str:
    for word in ("one", "two", "three"):
        await act(word)
        await ctx.stream("words").write(word)
    return "done"


async def test_a_completed_instance_goes_on_from_before_a_step(app: Romancy) -> None:
    handle = await app.start(does, STEPS)
    await handle.signal("go", "first")
    assert await handle.result(timeout=60) == ["note", "charge 1", "first", "ship"]

    await handle.rewind(before="act:2", undo="keep")

    assert await handle.result(timeout=60) == ["note", "charge 1", "first", "ship"]
    assert record.names() == ["note", "charge 1", "ship", "ship"]
    assert len(set(record.keys("ship"))) == 2
    assert await rewinds(handle) == 1


async def test_work_behind_the_point_is_refused_by_name_and_nothing_is_written(app: Romancy) -> None:
    handle = await app.start(does, ["note", "charge 1", "ship"])
    await handle.result(timeout=60)
    last = await last_commit(app, handle)

    with pytest.raises(UsageError, match=r"charge:1, act:2 did something behind the point.*undo=\"keep\""):
        await handle.rewind(before="charge:1")
    plan = await handle.plan_rewind(before="charge:1")

    assert [one.id for one in plan.stands] == ["charge:1", "act:2"]
    assert [one.id for one in plan.kept] == ["act:1"]
    assert plan.refused is not None
    assert (await handle.plan_rewind(before="charge:1", undo="keep")).refused is None
    assert await last_commit(app, handle) == last
    assert await handle.status() is Status.COMPLETED


async def test_a_failed_instance_whose_last_step_did_nothing_needs_no_word(app: Romancy) -> None:
    instance_id = await failed(app, does, ["note", "ship"])
    handle = app.handle(instance_id, does)

    await handle.rewind(before="act:2")

    assert await handle.result(timeout=60) == ["note", "ship"]
    assert record.names() == ["note", "ship", "ship"]
    assert len(set(record.keys("ship"))) == 2
    found = await app.get_instance(instance_id)
    assert found is not None
    assert found.error is None


async def test_what_was_undone_is_done_again_and_not_taken_for_done(app: Romancy) -> None:
    instance_id = await failed(app, does, ["note", "charge 1", "ship"])
    handle = app.handle(instance_id, does)

    with pytest.raises(UsageError, match=r"charge:1.*undone later"):
        await handle.rewind(before="act:2")
    await handle.rewind(before="charge:1")

    assert await handle.result(timeout=60) == ["note", "charge 1", "ship"]
    assert record.names() == ["note", "charge 1", "ship", "refund charge 1", "charge 1", "ship"]
    assert len(set(record.keys("charge 1"))) == 2


async def test_if_it_fails_again_it_undoes_what_stands_before_the_point(app: Romancy) -> None:
    handle = await app.start(does, ["charge 1", "ship"])
    await handle.result(timeout=60)
    record.broken.add("ship")

    await handle.rewind(before="act:1", undo="keep")
    await fail(app, handle.instance_id)

    assert record.names() == ["charge 1", "ship", "ship", "refund charge 1"]


async def test_a_cancelled_instance_goes_on(app: Romancy) -> None:
    handle = await app.start(does, ["note", "wait go", "ship"])
    await status_is(app, handle.instance_id, Status.WAITING)
    await handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)

    with pytest.raises(UsageError, match="nothing stands behind"):
        await handle.rewind(at=await last_commit(app, handle))
    await handle.rewind(before="go:1")
    await handle.signal("go", 1)

    assert await handle.result(timeout=60) == ["note", 1, "ship"]


async def test_what_was_terminated_at_work_is_in_doubt(app: Romancy) -> None:
    handle = await app.start(does, ["note", "gate slow"])
    await until(lambda: "gate slow" in record.names())
    await app.terminate(handle.instance_id)

    with pytest.raises(UsageError, match="waits_at_a_gate:1 did something"):
        await handle.rewind(before="waits_at_a_gate:1")
    record.gates["gate slow"].set()
    await handle.rewind(before="waits_at_a_gate:1", undo="keep")

    assert await handle.result(timeout=60) == ["note", "gate slow"]


async def test_failures_and_limits_that_the_body_caught_stand(app: Romancy) -> None:
    record.broken.add("broken")
    handle = await app.start(catches)
    first = await handle.result(timeout=60)
    record.broken.clear()

    await handle.rewind(before="act:3", undo="keep")

    assert await handle.result(timeout=60) == first
    assert Counter(record.names()) == Counter(["broken", first[2], "ship", "ship"])


async def test_it_is_rewound_again_and_again(app: Romancy) -> None:
    handle = await app.start(does, ["note", "charge 1", "ship", "bill"])
    first = await handle.result(timeout=60)

    for step in ("act:3", "act:2", "act:3", "charge:1", "act:1"):
        await handle.rewind(before=step, undo="keep")
        assert await handle.result(timeout=60) == first

    assert Counter(record.names()) == Counter({"note": 2, "charge 1": 3, "ship": 4, "bill": 6})
    assert [len(set(record.keys(one))) for one in ("note", "charge 1", "ship", "bill")] == [2, 3, 4, 6]
    assert await rewinds(handle) == 5


async def test_a_retry_of_what_was_rewound(app: Romancy) -> None:
    handle = await app.start(does, ["note", "ship", "bill"])
    await handle.result(timeout=60)
    record.broken.add("bill")
    await handle.rewind(before="act:2", undo="keep")
    await fail(app, handle.instance_id)
    record.broken.clear()

    await app.retry(handle.instance_id)

    assert await handle.result(timeout=60) == ["note", "ship", "bill"]
    assert record.names() == ["note", "ship", "bill", "ship", "bill", "bill"]
    assert len(set(record.keys("ship"))) == 2
    assert len(set(record.keys("bill"))) == 2


async def test_a_retry_is_rewound(app: Romancy) -> None:
    instance_id = await failed(app, does, ["note", "charge 1", "wrap", "ship"])
    handle = app.handle(instance_id, does)
    await app.retry(instance_id)
    await handle.result(timeout=60)
    before = record.names()

    await handle.rewind(before="act:3", undo="keep")
    assert await handle.result(timeout=60) == ["note", "charge 1", "wrap", "ship"]
    assert record.names() == [*before, "ship"]

    await handle.rewind(before="act:2", undo="keep")
    assert await handle.result(timeout=60) == ["note", "charge 1", "wrap", "ship"]

    assert record.names() == [*before, "ship", "wrap", "ship"]
    assert len(set(record.keys("wrap"))) == 2
    assert len(set(record.keys("ship"))) == 3


async def test_what_a_retry_remembers_behind_the_point_is_forgotten(app: Romancy) -> None:
    instance_id = await failed(app, does, ["note", "wrap", "ship"])
    handle = app.handle(instance_id, does)
    record.broken.add("ship")
    await app.retry(instance_id)
    await fail(app, instance_id)
    record.broken.clear()
    with pytest.raises(UsageError, match="act:2"):
        await handle.rewind(before="act:2")

    await handle.rewind(before="act:2", undo="keep")

    assert await handle.result(timeout=60) == ["note", "wrap", "ship"]
    assert record.names() == ["note", "wrap", "ship", "ship", "wrap", "ship"]
    assert len(set(record.keys("wrap"))) == 2


async def test_a_rewind_and_a_retry_and_a_rewind_of_both(app: Romancy) -> None:
    instance_id = await failed(app, does, ["note", "wrap", "ship"])
    handle = app.handle(instance_id, does)
    await app.retry(instance_id)
    await handle.result(timeout=60)
    record.broken.add("ship")
    await handle.rewind(before="act:2", undo="keep")
    await fail(app, instance_id)
    record.broken.clear()
    await app.retry(instance_id)
    assert await handle.result(timeout=60) == ["note", "wrap", "ship"]
    before = record.names()

    await handle.rewind(before="act:3", undo="keep")

    assert await handle.result(timeout=60) == ["note", "wrap", "ship"]
    assert record.names() == [*before, "ship"]
    assert record.names().count("note") == 1


async def test_a_run_that_recurred_is_rewound_alone(app: Romancy) -> None:
    handle = await app.start(turns, 2)
    assert await handle.result(timeout=60) == 3

    with pytest.raises(UsageError, match=r"no step 'act:3'.*last run.*act:1, act:2"):
        await handle.rewind(before="act:3")
    await handle.rewind(before="act:2", undo="keep")

    assert await handle.result(timeout=60) == 3
    assert record.names() == ["turn 2", "turn 1", "turn 0", "last", "last"]


async def test_what_was_rewound_recurs(app: Romancy) -> None:
    record.broken.add("turn 1")
    handle = await app.start(turns, 2)
    await fail(app, handle.instance_id)
    record.broken.clear()

    await handle.rewind(before="act:1")

    assert await handle.result(timeout=60) == 3
    assert record.names() == ["turn 2", "turn 1", "turn 1", "turn 0", "last"]


async def test_a_fork_of_what_was_rewound_and_a_rewind_of_a_fork(app: Romancy) -> None:
    handle = await app.start(does, ["note", "ship", "bill"])
    await handle.result(timeout=60)
    await handle.rewind(before="act:2", undo="keep")
    await handle.result(timeout=60)

    fork = await handle.fork(before="act:3", id="fork")
    assert await fork.result(timeout=60) == ["note", "ship", "bill"]
    await fork.rewind(before="act:2", undo="keep")
    assert await fork.result(timeout=60) == ["note", "ship", "bill"]
    same = await handle.fork(before="act:3", id="fork")

    assert await same.result(timeout=60) == ["note", "ship", "bill"]
    assert record.names() == ["note", "ship", "bill", "ship", "bill", "bill", "ship", "bill"]
    assert len(set(record.keys("bill"))) == 4


async def test_the_stream_of_the_body_repeats_only_what_is_done_again(app: Romancy) -> None:
    handle = await app.start(streams)
    await handle.result(timeout=60)

    await handle.rewind(before="act:3", undo="keep")
    await handle.result(timeout=60)

    told = [item.data async for item in handle.stream("words") if item.kind == "data"]
    assert told == ["one", "two", "three", "two", "three"]  # "two" was written in the moment of the step


async def test_bad_points_are_named(app: Romancy) -> None:
    handle = await app.start(does, ["note", "ship"])
    await handle.result(timeout=60)
    last = await last_commit(app, handle)

    with pytest.raises(UsageError, match=r"no step 'act:9'.*act:1, act:2"):
        await handle.rewind(before="act:9")
    with pytest.raises(UsageError, match=r"no commit 9 in its last run.*1 to 3"):
        await handle.rewind(at=9)
    with pytest.raises(UsageError, match="no commit 0 in its last run"):
        await handle.rewind(at=0)
    with pytest.raises(UsageError, match="one point"):
        await handle.rewind()
    with pytest.raises(UsageError, match="one point"):
        await handle.rewind(before="act:1", at=1)
    with pytest.raises(UsageError, match="'keep' or 'again'"):
        await handle.rewind(before="act:1", children="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - users do
    with pytest.raises(UsageError, match="'refuse', 'keep' or 'compensate'"):
        await handle.rewind(before="act:1", undo="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - users do
    with pytest.raises(InstanceNotFoundError):
        await app.rewind("nobody", before="act:1")
    assert await last_commit(app, handle) == last
    await app.purge(handle.instance_id)
    with pytest.raises(InstanceNotFoundError):
        await handle.rewind(before="act:1")


async def test_a_rewind_on_which_nobody_has_acted_is_not_rewound_there_again(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(does, ["note", "ship"])
    await handle.result(timeout=60)
    await app.drain()
    other = await open_app(worker=False)
    await other.rewind(handle.instance_id, before="act:2", undo="keep")

    with pytest.raises(UsageError, match="no step 'act:2'"):
        await other.rewind(handle.instance_id, before="act:2", undo="keep")
    with pytest.raises(UsageError, match="was rewound there just now"):
        await other.rewind(
            handle.instance_id, at=await last_commit(other, other.handle(handle.instance_id)), undo="keep"
        )


async def test_an_app_that_does_not_know_the_workflow_rewinds_nothing(app: Romancy, open_app: Open) -> None:
    handle = await app.start(does, ["note"])
    await handle.result(timeout=60)
    other = await open_app(workflows=[works], worker=False)

    with pytest.raises(UsageError, match="does not know"):
        await other.rewind(handle.instance_id, before="act:1")


@entity("rewound-cart")
@dataclass
class RewoundCart:
    total: int = 0

    async def add(self, number: int) -> int:
        self.total += number
        return self.total


async def test_entities_are_refused_by_name(open_app: Open) -> None:
    app = await open_app(workflows=[RewoundCart])
    cart = app.entity(RewoundCart, "one")
    assert await cart.add(2) == 2

    with pytest.raises(UsageError, match="the entity 'rewound-cart'"):
        await app.rewind(app.entity_handle(RewoundCart, "one").instance_id, at=1)
