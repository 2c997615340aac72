"""Managing instances: trying failed and stuck ones again, ending by force, removing; what each refuses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceNotFoundError,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy_conformance.behaviour.cast import act, charge, does, record, waits_at_a_gate, works
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until
from romancy_conformance.changing import changed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import History, PruneRequest
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

dead_ends: set[str] = set()


@pytest.fixture(autouse=True)
def forget() -> None:
    dead_ends.clear()


@workflow
async def side_by_side(ctx: WorkflowContext) -> list[str]:
    return list(await asyncio.gather(act("a"), act("b"), act("c")))


@workflow
async def own_fault(ctx: WorkflowContext) -> str:
    await act("a")
    if "body" in record.broken:
        raise LookupError("the body is broken")
    return await act("b")


@workflow
async def waits_for_ever(ctx: WorkflowContext) -> None:
    await charge("a")
    await ctx.wait_event("never")


@activity
async def never_ends() -> None:
    await asyncio.Event().wait()


@workflow
async def works_for_ever(ctx: WorkflowContext) -> None:
    await charge("a")
    await never_ends()


@workflow
async def parent(ctx: WorkflowContext) -> str:
    child = await ctx.start(waits_for_ever)
    record.calls.append((child.instance_id, ""))
    try:
        await child.result()
    except WorkflowCancelledError:
        return "the child was ended"
    return "the child ended"


async def fail(app: Romancy, handle_of: Awaitable[object]) -> str:
    """Wait for the failure; return the instance's id."""
    handle = await handle_of
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)  # type: ignore[attr-defined]
    return handle.instance_id  # type: ignore[attr-defined, no-any-return]


async def test_a_failed_step_is_tried_again_and_the_rest_follows(app: Romancy) -> None:
    record.broken.add("b")
    instance_id = await fail(app, app.start(does, ["a", "b", "c"]))
    record.broken.clear()

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["a", "b", "c"]
    assert record.names() == ["a", "b", "b", "c"]


async def test_what_completed_beside_the_failure_stays_completed(app: Romancy) -> None:
    record.broken.add("b")
    instance_id = await fail(app, app.start(side_by_side))
    record.broken.clear()

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["a", "b", "c"]
    assert sorted(record.names()) == ["a", "b", "b", "c"]


async def test_what_was_undone_is_done_again(app: Romancy) -> None:
    record.broken.add("c")
    instance_id = await fail(app, app.start(does, ["a", "charge b", "c"]))
    record.broken.clear()

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["a", "charge b", "c"]
    assert record.names() == ["a", "charge b", "c", "refund charge b", "charge b", "c"]


async def test_a_failure_of_the_body_goes_on_where_it_was(app: Romancy) -> None:
    record.broken.add("body")
    instance_id = await fail(app, app.start(own_fault))
    record.broken.clear()

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == "b"
    assert record.names() == ["a", "b"]


async def test_a_retry_that_fails_can_be_retried(app: Romancy) -> None:
    record.broken.add("b")
    instance_id = await fail(app, app.start(does, ["a", "b", "c"]))
    await app.retry(instance_id)
    with pytest.raises(WorkflowFailedError):
        await app.handle(instance_id).result(timeout=60)
    record.broken.clear()

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["a", "b", "c"]


async def test_a_retry_by_a_process_without_a_worker(app: Romancy, open_app: Open) -> None:
    record.broken.add("b")
    instance_id = await fail(app, app.start(does, ["a", "b", "c"]))
    record.broken.clear()

    await (await open_app(worker=False)).retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["a", "b", "c"]


@workflow(index=["what"])
async def may_break_for(ctx: WorkflowContext, customer: str, what: str) -> str:
    return await act(what)


async def test_a_retried_instance_is_found_by_its_input(app: Romancy) -> None:
    record.broken.add("b")
    instance_id = await fail(app, app.start(may_break_for, "ada", "b"))
    await app.run(may_break_for, "ada", "a")
    record.broken.clear()

    await app.retry(instance_id)
    await app.handle(instance_id).result(timeout=60)

    page = await app.find_instances({"what": "b", "customer": "ada"})
    assert [instance.instance_id for instance in page.instances] == [instance_id]


async def test_only_the_failed_are_retried(app: Romancy) -> None:
    handle = await app.start(does, ["a", "b", "c"])
    await handle.result(timeout=60)

    with pytest.raises(UsageError, match="is completed"):
        await app.retry(handle.instance_id)
    with pytest.raises(InstanceNotFoundError):
        await app.retry("nobody")


@pytest.mark.parametrize("who", ["its worker", "another process"])
@pytest.mark.parametrize("what", ["waiting", "working"])
async def test_ending_by_force_undoes_nothing(app: Romancy, open_app: Open, what: str, who: str) -> None:
    handle = await app.start(waits_for_ever if what == "waiting" else works_for_ever)
    actor = app if who == "its worker" else await open_app(worker=False)
    await until(lambda: record.names() == ["a"])
    if what == "waiting":
        await status_is(app, handle.instance_id, Status.WAITING)

    assert await actor.terminate(handle.instance_id, reason="enough")

    with pytest.raises(WorkflowCancelledError, match="enough"):
        await handle.result(timeout=60)
    assert record.names() == ["a"]
    assert not await actor.terminate(handle.instance_id)


async def test_a_parent_hears_of_its_childs_end(app: Romancy) -> None:
    handle = await app.start(parent)
    await until(lambda: "a" in record.names() and len(set(record.names())) > 1)
    child = next(what for what in record.names() if what != "a")

    await app.terminate(child)

    assert await handle.result(timeout=60) == "the child was ended"


async def test_purging_removes_the_ended_and_frees_the_id(app: Romancy) -> None:
    handle = await app.start(does.options(instance_id="again"), ["a", "b", "c"])
    await handle.result(timeout=60)
    open_one = await app.start(waits_for_ever)

    assert await app.purge("again", open_one.instance_id, "nobody") == 1

    assert await app.get_instance("again") is None
    second = await app.start(does.options(instance_id="again"), ["a", "b", "c"])
    assert await second.result(timeout=60) == ["a", "b", "c"]
    assert record.names().count("c") == 2


@workflow
async def breaks_by_itself(ctx: WorkflowContext, what: str) -> str:
    """Its code awaits what no event can bring, until it is repaired; its version does not change."""
    if await act(what) in dead_ends:
        await asyncio.Event().wait()
    return f"past {what}"


async def stuck(app: Romancy, what: str) -> str:
    """Return the id of a stuck instance."""
    dead_ends.add(what)
    handle = await app.start(breaks_by_itself, what)
    await status_is(app, handle.instance_id, Status.STUCK)
    return handle.instance_id


@pytest.mark.parametrize("who", ["its worker", "another process"])
async def test_a_stuck_one_goes_on_when_the_cause_is_gone(app: Romancy, open_app: Open, who: str) -> None:
    instance_id = await stuck(app, "a")
    dead_ends.clear()
    actor = app if who == "its worker" else await open_app(worker=False)

    await actor.handle(instance_id).resume()

    assert await app.handle(instance_id).result(timeout=60) == "past a"
    assert record.names() == ["a"]


async def test_a_stuck_one_whose_cause_remains_is_stuck_again(app: Romancy) -> None:
    instance_id = await stuck(app, "a")
    before = len(await app.history(instance_id))

    await app.resume(instance_id)

    await until_more_than(before + 1, app, instance_id)
    await status_is(app, instance_id, Status.STUCK)
    dead_ends.clear()
    await app.resume(instance_id)
    assert await app.handle(instance_id).result(timeout=60) == "past a"


async def until_more_than(count: int, app: Romancy, instance_id: str) -> None:
    async with asyncio.timeout(60):
        while len(await app.history(instance_id)) <= count:  # noqa: ASYNC110 - nobody tells this test of an append
            await asyncio.sleep(0.01)


class Overtaken(WrappedStore):
    """A store in which something else happens right behind the next look at a row."""

    by: Callable[[], Awaitable[object]] | None = None

    async def read(self, instance_id: str, /, **options: Any) -> History | None:
        found: History | None = await self._store.read(instance_id, **options)
        if self.by is not None and options.get("limit") == 0:
            by, self.by = self.by, None
            await by()
        return found


@workflow
async def breaks_before_a_gate(ctx: WorkflowContext) -> str:
    if await act("a") in dead_ends:
        await asyncio.Event().wait()
    return await waits_at_a_gate("gate")


async def test_who_resumes_what_another_has_resumed_takes_it_from_no_worker(
    app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_ends.add("a")
    handle = await app.start(breaks_before_a_gate.options(instance_id="two"))
    await status_is(app, "two", Status.STUCK)
    dead_ends.clear()
    stores = wrap_stores(monkeypatch, Overtaken)
    late = await open_app(worker=False)

    async def is_resumed() -> None:
        await handle.resume()
        await until(lambda: "gate" in record.names())

    stores[0].by = is_resumed
    with pytest.raises(UsageError, match="is running; only a stuck one can be resumed"):
        await late.resume("two")
    record.gates["gate"].set()
    assert await handle.result(timeout=60) == "gate"
    assert record.names() == ["a", "gate"]


async def test_only_the_stuck_are_resumed(app: Romancy) -> None:
    handle = await app.start(does, ["a", "b", "c"])
    await handle.result(timeout=60)

    with pytest.raises(UsageError, match="is completed; only a stuck one"):
        await handle.resume()
    with pytest.raises(InstanceNotFoundError):
        await app.resume("nobody")


async def test_retry_and_resume_each_name_the_other_when_confused(app: Romancy) -> None:
    instance_id = await stuck(app, "a")
    with pytest.raises(UsageError, match="is stuck; only a failed or cancelled one can be retried; resume lets"):
        await app.retry(instance_id)

    record.broken.add("b")
    failed = await fail(app, app.start(does, ["a", "b", "c"]))
    with pytest.raises(UsageError, match="is failed; only a stuck one can be resumed; retry lets"):
        await app.resume(failed)


async def test_resuming_all_that_are_stuck(app: Romancy) -> None:
    ids = [await stuck(app, what) for what in ("a", "b")]
    other = await app.start(waits_for_ever)
    dead_ends.clear()

    assert sorted(ids) == sorted(await app.resume_many(everything=True, dry_run=True))
    assert [Status.STUCK] * 2 == [await app.handle(one).status() for one in ids]
    assert sorted(ids) == sorted(await app.resume_many(workflow_name="breaks_by_itself"))

    assert ["past a", "past b"] == [await app.handle(one).result(timeout=60) for one in ids]
    assert await other.status() is not Status.STUCK


@workflow
async def for_customer(ctx: WorkflowContext, customer: str, part: int) -> None:
    await ctx.wait_event("never")


async def test_acting_on_all_that_a_search_finds(app: Romancy) -> None:
    handles = await app.start_many([for_customer.bind("ada" if part % 2 else "bob", part) for part in range(10)])
    adas = {handle.instance_id for handle, part in zip(handles, range(10), strict=True) if part % 2}

    asked = await app.cancel_many({"customer": "ada"}, workflow_name="for_customer", dry_run=True)
    assert set(asked) == adas
    for instance_id in adas:
        await status_is(app, instance_id, Status.WAITING)

    assert set(await app.cancel_many({"customer": "ada"})) == adas
    for handle in handles:
        if handle.instance_id in adas:
            with pytest.raises(WorkflowCancelledError):
                await handle.result(timeout=60)
    assert await app.cancel_many({"customer": "ada"}) == []
    assert len(await app.terminate_many({"customer": "bob"})) == 5
    for handle in handles:
        with pytest.raises(WorkflowCancelledError):
            await handle.result(timeout=60)
    assert len(await app.purge_many(workflow_name="for_customer")) == 10
    assert [instance async for instance in app.iter_instances()] == []


@pytest.mark.parametrize("what", ["cancel", "terminate", "retry", "resume", "purge"])
async def test_a_dry_run_says_whom_and_does_nothing(app: Romancy, what: str) -> None:
    meant = [await in_a_state_for(app, what) for _ in range(2)]
    other = await app.start(for_customer, "bob", 0)
    await status_is(app, other.instance_id, Status.WAITING)
    many: dict[str, Callable[..., Awaitable[list[str]]]] = {
        "cancel": app.cancel_many,
        "terminate": app.terminate_many,
        "retry": app.retry_many,
        "resume": app.resume_many,
        "purge": app.purge_many,
    }
    for_all = many[what]
    name = works.name if what in {"retry", "purge"} else breaks_by_itself.name
    before = {one: (await app.get_instance(one), await app.history(one)) for one in [*meant, other.instance_id]}
    did = list(record.names())

    assert sorted(meant) == sorted(await for_all(workflow_name=name, dry_run=True))

    assert before == {one: (await app.get_instance(one), await app.history(one)) for one in before}
    assert did == record.names()
    dead_ends.clear()
    record.broken.clear()
    assert sorted(meant) == sorted(await for_all(workflow_name=name))
    assert await other.status() is Status.WAITING


async def in_a_state_for(app: Romancy, what: str) -> str:
    """Return the id of an instance to which this can be done."""
    if what in {"cancel", "terminate", "resume"}:
        return await stuck(app, "a")
    if what == "retry":
        record.broken.add("b")
        return await fail(app, app.start(works, "b"))
    handle = await app.start(works, "c")
    await handle.result(timeout=60)
    return handle.instance_id


async def test_retrying_all_that_failed(app: Romancy) -> None:
    record.broken.add("b")
    for _ in range(3):
        await fail(app, app.start(works, "b"))
    await app.run(works, "a")
    record.broken.clear()

    retried = await app.retry_many(workflow_name="works")

    assert len(retried) == 3
    results = [await app.handle(instance_id, works).result(timeout=60) for instance_id in retried]
    assert results == ["b", "b", "b"]


class Contended(WrappedStore):
    """A store where another transaction holds each instance at the first attempt to prune it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._asked: set[tuple[str, ...]] = set()
        self.services = store.services.wrapped(upkeep=lambda upkeep: changed(upkeep, prune=self._prune))

    async def _prune(self, request: PruneRequest, /) -> int:
        if request.instance_ids not in self._asked:
            self._asked.add(request.instance_ids)
            return 0  # what is held stays for the next call
        return await self._store.services.upkeep.prune(request)


async def test_those_that_are_purged_at_once_are_not_in_each_others_way(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Purging also drops the rows of finished runs, and holds their instances for a moment."""
    wrap_stores(monkeypatch, Contended)
    app = await open_app()
    handles = await app.start_many([does.bind(["a", "b", "c"]) for _ in range(10)])
    await asyncio.gather(*(handle.result(timeout=60) for handle in handles))

    assert {handle.instance_id for handle in handles} == set(await app.purge_many(everything=True))
    assert (await app.list_instances()).instances == []


async def test_open_instances_are_not_purged_by_a_search(app: Romancy) -> None:
    handle = await app.start(waits_for_ever)

    open_ones: list[Any] = ["waiting", ["completed", Status.WAITING]]
    for status in open_ones:
        for dry_run in (True, False):
            with pytest.raises(UsageError, match=r"purge_many removes instances that have ended, not waiting ones"):
                await app.purge_many(status=status, dry_run=dry_run)
    assert await app.purge_many(status=None, everything=True) == []
    await handle.cancel()


async def test_the_result_of_a_purged_instance_is_found_nowhere(open_app: Open) -> None:
    app, other, idle = await open_app(), await open_app(), await open_app(worker=False)
    handle = await app.start(does, ["a", "b", "c"])
    elsewhere = [each.handle(handle.instance_id, does) for each in (app, other, idle)]
    for each in (handle, *elsewhere):
        assert await each.result(timeout=60) == ["a", "b", "c"]

    assert await other.purge(handle.instance_id) == 1

    for each in (handle, *elsewhere):
        with pytest.raises(InstanceNotFoundError):
            await each.result(timeout=60)


async def test_a_result_told_here_is_gone_with_its_instance(app: Romancy) -> None:
    handle = await app.start(does, ["a", "b", "c"])
    await status_is(app, handle.instance_id, Status.COMPLETED)
    await app.purge(handle.instance_id)

    with pytest.raises(InstanceNotFoundError):
        await handle.result(timeout=60)
