"""Rewinds with `undo="compensate"`: what was done behind the point is undone first, and then it goes on."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    compensation,
    workflow,
)
from romancy.core import CompensationScheduled, UndoingBegan, WorkflowStarted, idempotency_key
from romancy_conformance.behaviour.cast import act, does, hears, record
from romancy_conformance.behaviour.coded import CHAINS
from romancy_conformance.behaviour.failing import fail, failed
from romancy_conformance.behaviour.going_back.journeys import gated
from romancy_conformance.behaviour.going_back.logs import is_told_to_pause, last_commit, rewinds
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio
_CAST = (does, hears, gated)

STEPS = ["note", "charge 1", "charge 2", "ship"]
UNDONE = ["refund charge 2", "refund charge 1"]


@compensation(retry=RetryPolicy(max_attempts=3, initial_interval=0.01))
async def take_away(what: str) -> None:
    record.calls.append((f"take away {what}", ""))
    if record.keys(f"take away {what}") != ["", "", ""]:
        raise ConnectionError(what)


@activity(compensation=take_away)
async def brings(what: str) -> str:
    return record.do(what)


@compensation
async def undoes_an_attempt(what: str) -> None:
    record.do(f"undo {what}")


@activity(compensation=undoes_an_attempt, compensate="attempted", retry=RetryPolicy(initial_interval=3600))
async def attempts(what: str) -> str:
    record.do(what)
    raise ConnectionError(what)


@workflow
async def brings_and_waits(ctx: WorkflowContext) -> str:
    await brings("table")
    return str((await ctx.wait_event("go")).data)


@workflow
async def attempts_only(ctx: WorkflowContext) -> str:
    await act("note")
    return await attempts("call")


@workflow
async def registers(ctx: WorkflowContext) -> str:
    await act("note")
    await act("book")
    ctx.on_undo(act, "give book back")
    await act("ship")
    return "done"


@workflow
async def has_a_child(ctx: WorkflowContext) -> str:
    await act("note")
    await gated()
    return await act("ship")


async def completed(app: Romancy, steps: list[str] = STEPS) -> str:
    handle = await app.start(does, steps)
    await handle.result(timeout=60)
    record.calls.clear()
    return str(handle.instance_id)


async def undoing(app: Romancy, steps: list[str] = STEPS) -> str:
    """An instance of which `charge 2` is being undone, at a gate."""
    instance_id = await completed(app, steps)
    record.gates["refund charge 2"].clear()
    await app.rewind(instance_id, before="charge:1", undo="compensate")
    await until(lambda: record.names() == ["refund charge 2"])
    return instance_id


async def goes_on(app: Romancy, instance_id: str) -> None:
    """It undoes the rest, each once more under its key at most, and then does everything again."""
    record.gates["refund charge 2"].set()
    assert await app.handle(instance_id, does).result(timeout=60) == STEPS
    assert list(dict.fromkeys(record.names())) == [*UNDONE, "charge 1", "charge 2", "ship"]
    assert all(len(set(record.keys(one))) == 1 for one in UNDONE)


# ── what is undone ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_completed_instance_is_undone_and_goes_on(app: Romancy) -> None:
    instance_id = await completed(app)
    handle = app.handle(instance_id, does)
    started = next(one for one in await handle.history() if isinstance(one, WorkflowStarted))

    await handle.rewind(before="charge:1", undo="compensate")

    assert await handle.result(timeout=60) == STEPS
    assert record.names() == [*UNDONE, "charge 1", "charge 2", "ship"]
    keys = [record.keys(one)[0] for one in UNDONE]
    assert keys == [idempotency_key(instance_id, started.nonce, f"compensate:charge:{one}") for one in (2, 1)]
    assert await rewinds(handle) == 1


async def test_the_plan_says_what_is_undone_and_what_stands(app: Romancy) -> None:
    instance_id = await completed(app)
    last = await last_commit(app, app.handle(instance_id))

    plan = await app.plan_rewind(instance_id, before="charge:1", undo="compensate")

    assert [one.id for one in plan.undone] == ["charge:2", "charge:1"]
    assert [one.id for one in plan.stands] == ["act:2"]
    assert plan.refused is None
    assert await last_commit(app, app.handle(instance_id)) == last
    plan = await app.plan_rewind(instance_id, before="charge:1")
    assert plan.undone == ()
    assert 'undo="compensate"' in str(plan.refused)


async def test_what_stands_before_the_point_is_left_alone(app: Romancy) -> None:
    instance_id = await completed(app)

    await app.rewind(instance_id, before="charge:2", undo="compensate")
    assert await app.handle(instance_id, does).result(timeout=60) == STEPS

    assert record.names() == ["refund charge 2", "charge 2", "ship"]


async def test_an_open_instance_is_undone_and_hears_what_comes_meanwhile(app: Romancy) -> None:
    handle = await app.start(does, ["note", "charge 1", "wait go", "charge 2", "wait go", "ship"])
    await handle.signal("go", 1)
    await until(lambda: "charge 2" in record.names())
    await status_is(app, handle.instance_id, Status.WAITING)
    record.gates["refund charge 2"].clear()
    record.calls.clear()

    await handle.rewind(at=3, undo="compensate")
    await until(lambda: record.names() == ["refund charge 2"])
    await app.send("go", 2)
    assert await handle.status() is Status.COMPENSATING
    assert "charge:2" in str(await handle.explain())
    assert record.names() == ["refund charge 2"]
    record.gates["refund charge 2"].set()
    await until(lambda: record.names() == ["refund charge 2", "charge 2"])
    await handle.signal("go", 3)

    assert await handle.result(timeout=60) == ["note", "charge 1", 2, "charge 2", 3, "ship"]
    assert record.names() == ["refund charge 2", "charge 2", "ship"]


async def test_what_a_failed_run_has_undone_is_not_undone_again(app: Romancy) -> None:
    instance_id = await failed(app, does, STEPS)
    record.calls.clear()

    await app.rewind(instance_id, before="charge:1", undo="compensate")
    assert await app.handle(instance_id, does).result(timeout=60) == STEPS

    assert record.names() == ["charge 1", "charge 2", "ship"]


async def test_what_a_run_could_not_undo_is_tried_again_under_its_key(app: Romancy) -> None:
    record.broken |= {"ship", "refund charge 2"}
    handle = await app.start(does, STEPS)
    await fail(app, handle.instance_id)
    record.broken.clear()

    await handle.rewind(before="charge:1", undo="compensate")

    assert await handle.result(timeout=60) == STEPS
    assert record.names()[4:] == [*UNDONE, "refund charge 2", "charge 1", "charge 2", "ship"]
    assert len(set(record.keys("refund charge 2"))) == 1


async def test_what_was_cut_off_while_it_was_undone_is_undone_again_under_its_key(app: Romancy) -> None:
    handle = await app.start(does, ["note", "charge 1", "charge 2", "wait go"])
    await status_is(app, handle.instance_id, Status.WAITING)
    record.gates["refund charge 2"].clear()
    await handle.cancel()
    await until(lambda: "refund charge 2" in record.names())
    await app.terminate(handle.instance_id)
    record.gates["refund charge 2"].set()

    plan = await handle.plan_rewind(before="charge:1", undo="compensate")
    await handle.rewind(before="charge:1", undo="compensate")
    await handle.signal("go", 1)

    assert [one.id for one in plan.undone] == ["charge:2", "charge:1"]
    assert await handle.result(timeout=60) == ["note", "charge 1", "charge 2", 1]
    assert record.names()[3:] == ["refund charge 2", *UNDONE, "charge 1", "charge 2"]
    assert len(set(record.keys("refund charge 2"))) == 1


async def test_undos_that_the_body_has_registered(app: Romancy) -> None:
    handle = await app.start(registers)
    await handle.result(timeout=60)
    record.calls.clear()

    plan = await handle.plan_rewind(before="act:2", undo="compensate")
    await handle.rewind(before="act:2", undo="compensate")

    assert [one.kind for one in plan.undone] == ["undos"]
    assert [one.id for one in plan.stands] == ["act:3"]
    assert await handle.result(timeout=60) == "done"
    assert record.names() == ["give book back", "book", "ship"]


async def test_what_may_have_taken_effect_is_undone_if_its_attempts_are(app: Romancy) -> None:
    handle = await app.start(attempts_only)
    await until(lambda: "call" in record.names())

    await handle.rewind(before="attempts:1", undo="compensate")
    await until(lambda: record.names() == ["note", "call", "undo call", "call"])

    await app.terminate(handle.instance_id)


async def test_a_retried_run_is_undone(app: Romancy) -> None:
    instance_id = await failed(app, does, STEPS)
    record.broken.add("ship")
    record.broken.add("refund charge 1")
    await app.retry(instance_id)
    await fail(app, instance_id)
    record.broken.clear()
    await app.retry(instance_id, unsure="done")
    await app.handle(instance_id).result(timeout=60)
    record.calls.clear()

    await app.rewind(instance_id, before="charge:1", undo="compensate")

    assert await app.handle(instance_id, does).result(timeout=60) == STEPS
    assert record.names() == [*UNDONE, "charge 1", "charge 2", "ship"]


async def test_nothing_to_undo(app: Romancy) -> None:
    instance_id = await completed(app, ["note", "ship"])

    await app.rewind(instance_id, before="act:2", undo="compensate")

    assert await app.handle(instance_id, does).result(timeout=60) == ["note", "ship"]
    assert not [one for one in await app.handle(instance_id).history() if isinstance(one, UndoingBegan)]


async def test_a_child_that_has_completed_stands(app: Romancy) -> None:
    record.gates["child"].set()
    handle = await app.start(has_a_child)
    await handle.result(timeout=60)

    plan = await handle.plan_rewind(before="gated:1", undo="compensate")
    assert [one.id for one in plan.stands] == ["gated:1", "act:2"]
    await handle.rewind(before="gated:1", undo="compensate")

    assert await handle.result(timeout=60) == "ship"
    assert record.names() == ["note", "child", "ship", "child", "ship"]


# ── how it is undone ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_undo_is_tried_again(app: Romancy) -> None:
    handle = await app.start(brings_and_waits)
    await status_is(app, handle.instance_id, Status.WAITING)

    await handle.rewind(before="brings:1", undo="compensate")
    await handle.signal("go", 1)

    assert await handle.result(timeout=60) == "1"
    assert record.names() == ["table", *["take away table"] * 3, "table"]


async def test_if_an_undo_fails_for_good_the_others_run_and_a_person_decides(app: Romancy) -> None:
    instance_id = await completed(app)
    handle = app.handle(instance_id, does)
    record.broken.add("refund charge 2")

    await handle.rewind(before="charge:1", undo="compensate")
    await status_is(app, instance_id, Status.PAUSED)

    found = await app.get_instance(instance_id)
    assert found is not None
    assert "charge:2 could not be undone" in str(found.error)
    assert "charge:2 could not be undone" in str(await handle.explain())
    assert record.names() == UNDONE
    await handle.unpause()
    assert await handle.result(timeout=60) == STEPS
    assert record.names() == [*UNDONE, "charge 1", "charge 2", "ship"]


async def test_it_is_done_again_and_again(app: Romancy) -> None:
    instance_id = await completed(app)

    for step in ("charge:2", "charge:1", "act:1", "charge:2"):
        await app.rewind(instance_id, before=step, undo="compensate")
        assert await app.handle(instance_id, does).result(timeout=60) == STEPS

    first = ["refund charge 2", "charge 2", "ship"]
    all_of_it = [*UNDONE, "charge 1", "charge 2", "ship"]
    assert record.names() == [*first, *all_of_it, *UNDONE, *STEPS, *first]
    assert len(set(record.keys("refund charge 2"))) == 4


async def test_a_thousand_undos(app: Romancy) -> None:
    steps = [f"charge {one}" for one in range(1000)]
    instance_id = await completed(app, steps)

    await app.rewind(instance_id, before="charge:1", undo="compensate")
    assert await app.handle(instance_id, does).result(timeout=300) == steps

    assert record.names() == [*(f"refund {one}" for one in reversed(steps)), *steps]


@pytest.mark.parametrize("chain", CHAINS)
async def test_sealed_logs(open_app: Open, chain: str) -> None:
    app = await open_app(codecs=CHAINS[chain])
    instance_id = await completed(app)

    await app.rewind(instance_id, before="charge:1", undo="compensate")

    assert await app.handle(instance_id, does).result(timeout=60) == STEPS
    assert record.names() == [*UNDONE, "charge 1", "charge 2", "ship"]


# ── what comes between ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_cancellation_waits_until_it_is_undone(app: Romancy) -> None:
    instance_id = await undoing(app)

    await app.cancel(instance_id)
    record.gates["refund charge 2"].set()
    with pytest.raises(WorkflowCancelledError):
        await app.handle(instance_id).result(timeout=60)

    assert record.names() == UNDONE


async def test_a_cancellation_that_is_older_than_a_pause_waits_as_well(app: Romancy) -> None:
    instance_id = await undoing(app)

    await app.cancel(instance_id)
    await app.pause(instance_id, reason="wait")
    record.gates["refund charge 2"].set()
    await status_is(app, instance_id, Status.PAUSED)
    await app.unpause(instance_id)
    with pytest.raises(WorkflowCancelledError):
        await app.handle(instance_id).result(timeout=60)

    assert record.names() == UNDONE


async def test_it_is_terminated_at_once_and_retried(app: Romancy) -> None:
    instance_id = await undoing(app)

    await app.terminate(instance_id)
    assert await app.handle(instance_id).status() is Status.CANCELLED
    with pytest.raises(UsageError, match="charge:2"):
        await app.retry(instance_id)
    await app.retry(instance_id, unsure="undone")

    assert await app.handle(instance_id, does).result(timeout=60) == STEPS
    assert record.names() == ["refund charge 2", "charge 2"]


async def test_it_is_terminated_and_rewound_further(app: Romancy) -> None:
    instance_id = await completed(app)
    record.gates["refund charge 2"].clear()
    await app.rewind(instance_id, before="charge:2", undo="compensate")
    await until(lambda: record.names() == ["refund charge 2"])
    await app.terminate(instance_id)

    record.calls.clear()
    await app.rewind(instance_id, before="charge:1", undo="compensate")
    record.gates["refund charge 2"].set()

    assert await app.handle(instance_id, does).result(timeout=60) == STEPS
    assert record.names() == [*UNDONE, "charge 1", "charge 2", "ship"]


async def test_it_is_not_rewound_retried_or_purged_meanwhile(app: Romancy) -> None:
    instance_id = await undoing(app)

    with pytest.raises(UsageError, match="is being rewound already"):
        await app.rewind(instance_id, before="act:1", undo="compensate")
    assert "is being rewound already" in str((await app.plan_rewind(instance_id, before="act:1")).refused)
    with pytest.raises(UsageError, match="only a failed or cancelled one can be retried"):
        await app.retry(instance_id)
    assert await app.purge(instance_id) == 0

    await goes_on(app, instance_id)


async def test_it_is_forked_meanwhile_as_any_other(app: Romancy) -> None:
    instance_id = await undoing(app)
    seq = await last_commit(app, app.handle(instance_id))

    with pytest.raises(UsageError, match="being cancelled or undone there"):
        await app.fork(instance_id, at=seq)
    with pytest.raises(UsageError, match=r"charge:2.*undone later"):
        await app.fork(instance_id, before="act:2")
    fork = await app.fork(instance_id, before="act:1")
    assert await app.handle(fork, does).result(timeout=60) == STEPS
    record.calls = record.calls[:1]

    await goes_on(app, instance_id)


async def test_it_is_paused_meanwhile(app: Romancy) -> None:
    instance_id = await undoing(app)

    await app.pause(instance_id, reason="look first")
    record.gates["refund charge 2"].set()
    await status_is(app, instance_id, Status.PAUSED)
    assert set(record.names()) <= set(UNDONE)
    with pytest.raises(UsageError, match="is being rewound already"):
        await app.rewind(instance_id, before="act:1", undo="compensate")
    await app.unpause(instance_id)

    await goes_on(app, instance_id)


async def test_a_paused_instance_is_undone_when_its_pause_is_over(app: Romancy) -> None:
    handle = await app.start(does, ["note", "charge 1", "wait go", "ship"])
    await status_is(app, handle.instance_id, Status.WAITING)
    await handle.pause("the bank is down")
    await status_is(app, handle.instance_id, Status.PAUSED)

    await handle.rewind(before="charge:1", undo="compensate")
    found = await app.get_instance(handle.instance_id)
    assert found is not None
    assert (found.status, found.error) == (Status.PAUSED, "the bank is down")
    assert record.names() == ["note", "charge 1"]
    await handle.unpause()
    await handle.signal("go", 1)

    assert await handle.result(timeout=60) == ["note", "charge 1", 1, "ship"]
    assert record.names() == ["note", "charge 1", "refund charge 1", "charge 1", "ship"]


async def test_a_drained_worker_leaves_it_to_another(open_app: Open) -> None:
    app = await open_app()
    instance_id = await undoing(app)
    await app.drain()
    record.gates["refund charge 2"].set()

    await goes_on(await open_app(), instance_id)


async def test_an_app_without_a_worker_asks_for_it(app: Romancy, open_app: Open) -> None:
    instance_id = await completed(app)
    other = await open_app(worker=False)

    await other.rewind(instance_id, before="charge:1", undo="compensate")

    assert await other.handle(instance_id, does).result(timeout=60) == STEPS
    assert record.names() == [*UNDONE, "charge 1", "charge 2", "ship"]


async def test_one_that_a_worker_holds_is_paused_first(app: Romancy) -> None:
    handle = await app.start(does, ["note", "charge 1", "gate slow"])
    await until(lambda: "gate slow" in record.names())

    rewinding = asyncio.create_task(handle.rewind(before="charge:1", undo="compensate"))
    await until(lambda: is_told_to_pause(app, handle))
    record.gates["gate slow"].set()
    await rewinding

    assert await handle.result(timeout=60) == ["note", "charge 1", "gate slow"]
    assert record.names() == ["note", "charge 1", "gate slow", "refund charge 1", "charge 1", "gate slow"]


async def test_a_worker_that_does_not_know_the_undo_leaves_it(open_app: Open) -> None:
    @workflow(name="undone-elsewhere")
    async def older(ctx: WorkflowContext) -> str:
        await act("note")
        return await brings("table")

    @workflow(name="undone-elsewhere")
    async def newer(ctx: WorkflowContext) -> str:
        return await act("note")

    @activity(name="brings")
    async def of_another_package(what: str) -> str:
        return what  # a name that two activities have is unknown to an app

    record.calls += [("take away table", "")] * 2
    app = await open_app(workflows=[older])
    handle = await app.start(older)
    await handle.result(timeout=60)
    await app.drain()
    client = await open_app(workflows=[newer], worker=False)
    with pytest.raises(UsageError, match="does not know the activities brings"):
        await client.rewind(handle.instance_id, before="brings:1", undo="compensate")
    client = await open_app(workflows=[older], worker=False)
    await client.rewind(handle.instance_id, before="brings:1", undo="compensate")

    app = await open_app(workflows=[newer])
    await status_is(app, handle.instance_id, Status.STUCK)
    found = await app.get_instance(handle.instance_id)
    assert found is not None
    assert "does not know how to undo brings:1" in str(found.error)
    await app.drain()
    app = await open_app(workflows=[older])

    assert await app.handle(handle.instance_id, older).result(timeout=60) == "table"
    assert record.names()[2:] == ["note", "table", "take away table", "table"]
    del of_another_package
    gc.collect()


async def test_a_stuck_instance_is_undone_without_its_code(open_app: Open) -> None:
    @workflow(name="undone-and-changed")
    async def older(ctx: WorkflowContext) -> str:
        await brings("table")
        await act("older")
        return str((await ctx.wait_event("go")).data)

    @workflow(name="undone-and-changed")
    async def newer(ctx: WorkflowContext) -> str:
        await act("newer")
        await brings("table")
        return str((await ctx.wait_event("go")).data)

    app = await open_app(workflows=[older])
    handle = await app.start(older)
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.drain()
    app = await open_app(workflows=[newer])
    await app.signal(handle.instance_id, "go", 1)
    await status_is(app, handle.instance_id, Status.STUCK)

    await app.rewind(handle.instance_id, before="brings:1", undo="compensate")

    assert await app.handle(handle.instance_id, newer).result(timeout=60) == "1"
    assert record.names() == ["table", "older", *["take away table"] * 3, "newer", "table"]


async def test_the_log_has_each_undo_once(app: Romancy) -> None:
    instance_id = await completed(app)
    await app.rewind(instance_id, before="charge:1", undo="compensate")
    await app.handle(instance_id).result(timeout=60)

    history = await app.handle(instance_id).history()

    assert [one.activity_id for one in history if isinstance(one, CompensationScheduled)] == ["charge:2", "charge:1"]
