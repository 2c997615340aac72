"""Forks: another instance has the outcomes of what stands before a point, and goes on from there by itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceConflictError,
    InstanceNotFoundError,
    Limit,
    RequestType,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    entity,
    workflow,
)
from romancy.core import ActivityCompleted, WorkflowForked
from romancy.errors import StorageUnavailableError
from romancy_conformance.behaviour.cast import (
    act,
    adds_up_abreast,
    does,
    hears,
    receives,
    record,
    waits,
    waits_at_a_gate,
    waits_for_its_child,
    works,
)
from romancy_conformance.behaviour.coded import CHAINS
from romancy_conformance.behaviour.failing import fail, failed
from romancy_conformance.behaviour.going_back.journeys import abreast, gated, parts
from romancy_conformance.behaviour.going_back.logs import has_events, last_commit
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import joined, reason_is, status_is, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Item, Outcome
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio
_CAST = (abreast, gated, parts, adds_up_abreast, does, hears, receives, waits, waits_for_its_child, works)

STEPS = ["note", "charge 1", "wait go", "ship"]


@workflow
async def draws(ctx: WorkflowContext) -> str:
    await act(f"first {ctx.uuid4()}")
    await act(f"second {ctx.random().random()}")
    await act(f"third {ctx.uuid4()}")
    await act("ship")
    return ctx.instance_id


@workflow
async def slept(ctx: WorkflowContext) -> str:
    await act("note")
    await ctx.sleep(0.05)
    return await act("ship")


@workflow
async def told(ctx: WorkflowContext, word: str) -> str:
    await act("note")
    await act(f"say {word}")
    return await act("ship")


@workflow(limits=[Limit("one by one", concurrency=1)])
async def alone(ctx: WorkflowContext) -> str:
    await act("note")
    return await waits_at_a_gate("inside")


@workflow
async def partly_alone(ctx: WorkflowContext) -> None:
    async with ctx.limit(Limit("a part", concurrency=1)):
        await act("one")
        await act("two")


@workflow
async def turns(ctx: WorkflowContext, left: int) -> int:
    await act(f"turn {left}")
    if left:
        turns.recur(left - 1)
    await act("last")
    return ctx.run


async def test_a_fork_goes_on_from_before_a_step(app: Romancy) -> None:
    handle = await app.start(does, STEPS)
    await handle.signal("go", "first")
    assert await handle.result(timeout=60) == ["note", "charge 1", "first", "ship"]

    fork = await handle.fork(before="act:2")

    assert await fork.result(timeout=60) == ["note", "charge 1", "first", "ship"]
    assert fork.instance_id != handle.instance_id
    assert record.names() == ["note", "charge 1", "ship", "ship"]
    assert len(set(record.keys("ship"))) == 2
    assert not [event for event in await handle.history() if isinstance(event, WorkflowForked)]


async def test_what_came_behind_the_point_is_not_the_forks(app: Romancy) -> None:
    handle = await app.start(does, STEPS)
    await handle.signal("go", "first")
    await handle.result(timeout=60)

    fork = await handle.fork(before="go:1")
    await status_is(app, fork.instance_id, Status.WAITING)
    await fork.signal("go", "second")

    assert await fork.result(timeout=60) == ["note", "charge 1", "second", "ship"]
    assert record.names() == ["note", "charge 1", "ship", "ship"]


async def test_a_fork_of_one_that_waits_hears_of_its_own(app: Romancy) -> None:
    handle = await app.start(hears, "go", 2)
    await handle.signal("go", 1)
    await until(lambda: has_events(handle, 4))

    fork = await handle.fork(at=2)
    await status_is(app, fork.instance_id, Status.WAITING)
    await app.send("go", 2)

    assert await fork.result(timeout=60) == [1, 2]
    assert await handle.result(timeout=60) == [1, 2]


async def test_a_fork_has_the_subscriptions(app: Romancy) -> None:
    handle = await app.start(receives, count=2)
    await joined(app, 1)
    await app.channel("orders").publish(1)
    await until(lambda: has_events(handle, 6))

    fork = await handle.fork(at=await last_commit(app, handle))
    await status_is(app, fork.instance_id, Status.WAITING)
    await joined(app, 2)
    await app.channel("orders").publish(2)

    assert await fork.result(timeout=60) == await handle.result(timeout=60) == [1, 2]


async def test_a_failed_instance_is_forked(app: Romancy) -> None:
    instance_id = await failed(app, does, ["note", "ship"])

    fork = await app.handle(instance_id, does).fork(before="act:2")

    assert await fork.result(timeout=60) == ["note", "ship"]
    assert await app.handle(instance_id).status() is Status.FAILED
    assert record.names() == ["note", "ship", "ship"]


async def test_what_was_undone_is_not_taken_for_done(app: Romancy) -> None:
    instance_id = await failed(app, does, ["note", "charge 1", "ship"])
    handle = app.handle(instance_id, does)

    with pytest.raises(UsageError, match=r"charge:1.*undone later"):
        await handle.fork(before="act:2")
    assert "charge:1" in str((await handle.plan_fork(before="act:2")).refused)

    fork = await handle.fork(before="charge:1")
    assert await fork.result(timeout=60) == ["note", "charge 1", "ship"]
    assert record.names() == ["note", "charge 1", "ship", "refund charge 1", "charge 1", "ship"]
    assert len(set(record.keys("charge 1"))) == 2


async def test_a_cancelled_instance_is_forked_and_its_end_is_no_point(app: Romancy) -> None:
    handle = await app.start(does, ["note", "wait go", "ship"])
    await status_is(app, handle.instance_id, Status.WAITING)
    await handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)

    with pytest.raises(UsageError, match="has ended there"):
        await handle.fork(at=await last_commit(app, handle))
    fork = await handle.fork(before="go:1")
    await fork.signal("go", 1)

    assert await fork.result(timeout=60) == ["note", 1, "ship"]


async def test_if_the_fork_fails_it_undoes_what_it_has(app: Romancy) -> None:
    handle = await app.start(does, ["charge 1", "ship"])
    await handle.result(timeout=60)
    record.broken.add("ship")

    fork = await handle.fork(before="act:1")
    await fail(app, fork.instance_id)

    assert record.names() == ["charge 1", "ship", "ship", "refund charge 1"]


async def test_what_was_at_work_is_done_again_with_a_new_key(app: Romancy) -> None:
    handle = await app.start(abreast)
    await until(lambda: has_events(handle, 5))

    plan = await handle.plan_fork(before="act:2")
    fork = await handle.fork(before="act:2")
    record.gates["slow"].set()

    assert await handle.result(timeout=60) == await fork.result(timeout=60) == ["slow", "two"]
    assert [one.id for one in plan.again] == ["waits_at_a_gate:1"]
    assert [one.id for one in plan.kept] == ["act:1"]
    assert [one.id for one in plan.cut_off] == ["act:2"]
    assert len(set(record.keys("slow"))) == 2
    assert record.names().count("one") == 1
    assert record.names().count("two") == 2


async def test_a_sleep_that_is_over_ends_at_once(app: Romancy) -> None:
    handle = await app.start(slept)
    await handle.result(timeout=60)

    fork = await handle.fork(at=2)

    assert await fork.result(timeout=60) == "ship"
    assert record.names() == ["note", "ship", "ship"]


async def test_random_values_are_the_same_before_the_point_and_others_behind(app: Romancy) -> None:
    handle = await app.start(draws)
    await handle.result(timeout=60)
    first = record.names()

    record.broken.add("ship")
    fork = await handle.fork(before="act:3")
    await fail(app, fork.instance_id)
    again = record.names()[len(first) :]
    record.broken.clear()
    await app.retry(fork.instance_id)

    assert [name.split()[0] for name in again] == ["third", "ship"]
    assert again[0] != first[2]
    assert await fork.result(timeout=60) == fork.instance_id
    assert record.names() == [*first, *again, "ship"]
    assert len(set(record.keys("ship"))) == 2


async def test_a_fork_of_a_fork_and_of_a_retry(app: Romancy) -> None:
    instance_id = await failed(app, draws)
    await app.retry(instance_id)
    handle = app.handle(instance_id, draws)
    await handle.result(timeout=60)
    before = record.names()

    one = await handle.fork(before="act:3")
    assert await one.result(timeout=60) == one.instance_id
    two = await one.fork(before="act:4")
    assert await two.result(timeout=60) == two.instance_id

    names = record.names()[len(before) :]
    assert [name.split()[0] for name in names] == ["third", "ship", "ship"]
    assert len(set(record.keys("ship"))) == 3


async def test_a_run_that_recurred_is_forked_alone(app: Romancy) -> None:
    handle = await app.start(turns, 2)
    assert await handle.result(timeout=60) == 3

    with pytest.raises(UsageError, match=r"no step 'act:3'.*last run.*act:1, act:2"):
        await handle.fork(before="act:3")
    fork = await handle.fork(before="act:2")

    assert await fork.result(timeout=60) == 3
    assert record.names() == ["turn 2", "turn 1", "turn 0", "last", "last"]


async def test_children_that_have_ended_since_are_kept(app: Romancy) -> None:
    handle = await app.start(parts)
    record.gates["child"].set()
    first = await handle.result(timeout=60)

    fork = await handle.fork(before="act:2")

    assert await fork.result(timeout=60) == first
    assert record.names().count("child") == 1
    assert record.names().count("two") == 2


async def test_children_that_are_open_are_named_and_begin_again_if_asked(app: Romancy) -> None:
    handle = await app.start(parts)
    await until(lambda: "child" in record.names() and "two" in record.names())

    with pytest.raises(UsageError, match=r'children.*have not ended.*children="again"'):
        await handle.fork(before="act:2")
    fork = await handle.fork(before="act:2", children="again")
    record.gates["child"].set()

    mine, theirs = await fork.result(timeout=60), await handle.result(timeout=60)
    assert mine[1] == theirs[1] == "child"
    assert mine[0] != theirs[0]
    assert record.names().count("child") == 2
    children = await app.list_instances(parent=fork.instance_id)
    assert [one.instance_id for one in children.instances] == [mine[0]]


async def test_a_fork_gets_a_place_of_its_own(app: Romancy) -> None:
    handle = await app.start(alone)
    await until(lambda: "inside" in record.names())

    fork = await handle.fork(before="waits_at_a_gate:1")
    await status_is(app, fork.instance_id, Status.WAITING)
    assert record.names().count("inside") == 1
    record.gates["inside"].set()

    assert await handle.result(timeout=60) == await fork.result(timeout=60) == "inside"
    assert record.names() == ["note", "inside", "inside"]


async def test_a_place_for_a_part_of_the_body_is_no_point(app: Romancy) -> None:
    handle = await app.start(partly_alone)
    await handle.result(timeout=60)

    with pytest.raises(UsageError, match="limit 'a part'"):
        await handle.fork(before="act:2")


async def test_another_input(app: Romancy) -> None:
    handle = await app.start(told, "yes")
    await handle.result(timeout=60)

    fork = await handle.fork(before="act:2", input={"word": "no"})
    assert await fork.result(timeout=60) == "ship"
    assert record.names() == ["note", "say yes", "ship", "say no", "ship"]

    stuck = await handle.fork(before="act:3", input={"word": "no"})
    await reason_is(app, stuck.instance_id, "was copied from")
    with pytest.raises(Exception, match="wort"):
        await handle.fork(before="act:2", input={"wort": "no"})


async def test_the_same_fork_twice_is_one_and_another_is_refused(app: Romancy) -> None:
    handle = await app.start(does, ["note", "ship", "bill"])
    await handle.result(timeout=60)

    one = await handle.fork(before="act:2", id="fork")
    await one.result(timeout=60)
    two = await handle.fork(before="act:2", id="fork")

    assert two.instance_id == one.instance_id
    assert record.names().count("ship") == 2
    with pytest.raises(InstanceConflictError, match="fork"):
        await handle.fork(before="act:3", id="fork")
    with pytest.raises(InstanceConflictError, match="fork"):
        await handle.fork(before="act:2", id="fork", input={"steps": ["note", "mail"]})
    await app.start(works.options(instance_id="other"))
    with pytest.raises(InstanceConflictError, match="other"):
        await handle.fork(before="act:3", id="other")


async def test_many_forks_at_once_are_one(app: Romancy) -> None:
    handle = await app.start(does, ["note", "ship"])
    await handle.result(timeout=60)

    forks = await asyncio.gather(*(handle.fork(before="act:2", id="fork") for _ in range(5)))

    assert await forks[0].result(timeout=60) == ["note", "ship"]
    assert record.names().count("ship") == 2


async def test_bad_points_are_named(app: Romancy) -> None:
    handle = await app.start(does, ["note", "ship"])
    await handle.result(timeout=60)

    with pytest.raises(UsageError, match=r"no step 'act:9'.*act:1, act:2"):
        await handle.fork(before="act:9")
    with pytest.raises(UsageError, match=r"no commit 9 in its last run.*1 to 3"):
        await handle.fork(at=9)
    with pytest.raises(UsageError, match="one point"):
        await handle.fork()
    with pytest.raises(UsageError, match="one point"):
        await handle.fork(before="act:1", at=1)
    with pytest.raises(UsageError, match="'keep' or 'again'"):
        await handle.fork(before="act:1", children="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - users do
    with pytest.raises(InstanceNotFoundError):
        await app.fork("nobody", before="act:1")
    await app.purge(handle.instance_id)
    with pytest.raises(InstanceNotFoundError):
        await handle.fork(before="act:1")
    assert len((await app.list_instances()).instances) == 0


async def test_an_app_that_does_not_know_the_workflow_forks_nothing(app: Romancy, open_app: Open) -> None:
    handle = await app.start(does, ["note"])
    await handle.result(timeout=60)
    other = await open_app(workflows=[works], worker=False)

    with pytest.raises(UsageError, match="does not know"):
        await other.fork(handle.instance_id, before="act:1")


async def test_an_app_without_a_worker_forks(app: Romancy, open_app: Open) -> None:
    handle = await app.start(does, ["note", "ship"])
    await handle.result(timeout=60)
    other = await open_app(worker=False)

    fork = await other.handle(handle.instance_id, does).fork(before="act:2")

    assert await fork.result(timeout=60) == ["note", "ship"]
    assert record.names() == ["note", "ship", "ship"]


@pytest.mark.parametrize("chain", CHAINS)
async def test_sealed_logs(open_app: Open, chain: str) -> None:
    app = await open_app(codecs=CHAINS[chain])
    handle = await app.start(does, ["note", "ship"])
    await handle.result(timeout=60)

    fork = await handle.fork(before="act:2")

    assert await fork.result(timeout=60) == ["note", "ship"]


class Stopping(WrappedStore):
    """A store that fails for good behind some commits of a copy."""

    left = 10**9

    async def commit(self, batch: Sequence[Item], /, **options: Any) -> list[Outcome]:
        if any(item.writer.endswith(".fork") for item in batch):
            if not type(self).left:
                raise StorageUnavailableError("it is away")
            type(self).left -= 1
        return await self._store.commit(batch, **options)


@workflow
async def carries(ctx: WorkflowContext, parts: int) -> int:
    told = [await act("x" * 300_000) for _ in range(parts)]
    await act("ship")
    return len(told)


async def test_a_long_log_is_copied_in_parts_and_a_copy_that_was_cut_short_is_continued(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap_stores(monkeypatch, Stopping)
    app = await open_app()
    handle = await app.start(carries, 8)
    await handle.result(timeout=60)

    for _ in range(2):
        monkeypatch.setattr(Stopping, "left", 1)
        with pytest.raises(StorageUnavailableError):
            await handle.fork(before="act:9", id="fork")
        found = await app.get_instance("fork")
        assert found is not None
        assert found.status is Status.PAUSED
        assert "copied" in (found.error or "")
    monkeypatch.setattr(Stopping, "left", 10**9)
    fork = await handle.fork(before="act:9", id="fork")

    assert await fork.result(timeout=60) == 8
    assert record.names().count("ship") == 2
    assert len(record.names()) == 10


async def test_a_copy_that_was_cut_short_does_not_run(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    wrap_stores(monkeypatch, Stopping)
    app = await open_app()
    handle = await app.start(carries, 8)
    await handle.result(timeout=60)
    monkeypatch.setattr(Stopping, "left", 1)
    with pytest.raises(StorageUnavailableError):
        await handle.fork(before="act:9", id="fork")
    monkeypatch.setattr(Stopping, "left", 10**9)

    with pytest.raises(UsageError, match="being copied"):
        await app.unpause("fork")
    with pytest.raises(InstanceConflictError):
        await handle.fork(before="act:1", id="fork")
    fork = await handle.fork(before="act:9", id="fork")

    assert await fork.result(timeout=60) == 8


async def test_ten_thousand_steps(app: Romancy) -> None:
    handle = await app.start(adds_up_abreast, 10_000)
    await handle.result(timeout=300)

    fork = await handle.fork(at=await last_commit(app, handle) - 1)

    assert await fork.result(timeout=300) == await handle.result()
    ends = [event for event in await fork.history() if isinstance(event, ActivityCompleted)]
    assert len(ends) == 10_000


@entity("fork-cart")
@dataclass
class ForkCart:
    total: int = 0

    async def add(self, number: int) -> int:
        self.total += number
        return self.total


async def test_entities_are_refused_by_name(open_app: Open) -> None:
    app = await open_app(workflows=[ForkCart])
    cart = app.entity(ForkCart, "one")
    assert await cart.add(2) == 2

    with pytest.raises(UsageError, match="the entity 'fork-cart'"):
        await app.fork(app.entity_handle(ForkCart, "one").instance_id, at=1)


ForkAdd = RequestType("fork-add", int, int)


@workflow
async def serves(ctx: WorkflowContext) -> str:
    async def add(number: int) -> int:
        await act(f"add {number}")
        await waits_at_a_gate("answer")
        return number + 1

    async with ctx.handling(ForkAdd.by(add)):
        await ctx.wait_event("go")
        return await act("ship")


async def test_a_request_that_was_being_answered_is_no_point(app: Romancy) -> None:
    handle = await app.start(serves)
    asked = asyncio.create_task(handle.request(ForkAdd, 1))
    await until(lambda: "answer" in record.names())
    with pytest.raises(UsageError, match="request 'fork-add' was being answered"):
        await handle.fork(before="waits_at_a_gate:1")

    record.gates["answer"].set()
    assert await asked == 2
    await handle.signal("go")
    assert await handle.result(timeout=60) == "ship"
    fork = await handle.fork(before="act:2")

    assert await fork.result(timeout=60) == "ship"


@workflow
async def asks(ctx: WorkflowContext) -> str:
    await ctx.ask("Shall we?", name="fork-decision", to="boss")
    return await act("ship")


async def test_a_question_is_for_one_instance(app: Romancy) -> None:
    handle = await app.start(asks)
    await status_is(app, handle.instance_id, Status.WAITING)

    with pytest.raises(UsageError, match="question 'fork-decision' was open"):
        await handle.fork(at=await last_commit(app, handle))
