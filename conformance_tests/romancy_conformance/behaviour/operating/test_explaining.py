"""Why an instance does not move, told by the app, and by the error of a wait that was in vain."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    CodecError,
    EventType,
    InstanceNotFoundError,
    RetryPolicy,
    Romancy,
    Status,
    StorageUnavailableError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.managing import reasons as reasons_module
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.coded import SECRET, Masking
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Approved = EventType("approved", str)


@activity(retry=RetryPolicy.fixed(9, 3600))
async def explained_hesitation() -> None:
    raise ValueError("not yet")


@workflow
async def explained_approval(ctx: WorkflowContext, item: str) -> str:
    return (await ctx.wait_event(Approved)).data


calls_explained_approval = calling(explained_approval)
calls_explained_hesitation = calling(explained_hesitation)


@workflow
async def explained_rounds(ctx: WorkflowContext, left: int) -> str:
    if left:
        return explained_rounds.recur(left - 1)
    return (await ctx.wait_event(Approved)).data


@activity(retry=RetryPolicy.none())
async def explained_refusal() -> None:
    raise ValueError("the card was declined")


calls_explained_refusal = calling(explained_refusal)


@workflow
async def explained_catching_sleeper(ctx: WorkflowContext) -> None:
    try:
        await ctx.wait_event("never")
    except asyncio.CancelledError:
        await explained_hesitation()


@workflow
async def explained_catcher(ctx: WorkflowContext) -> None:
    try:
        await ctx.wait_event("never")
    except asyncio.CancelledError:
        await ctx.wait_event(Approved)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow 60 s for the reason: on a busy machine it may take long to arrive."""
    monkeypatch.setattr(reasons_module, "PATIENCE", 60.0)


async def in_vain(app: Romancy, instance_id: str) -> str:
    with pytest.raises(TimeoutError) as caught:
        await app.handle(instance_id).result(timeout=0.001)
    assert type(caught.value) is TimeoutError
    return str(caught.value)


async def test_a_time_out_says_which_instance_and_what_it_waits_for(app: Romancy) -> None:
    await app.start(explained_approval.options(instance_id="a-1"), "lamp")
    await status_is(app, "a-1", Status.WAITING)

    said = await in_vain(app, "a-1")

    assert said.startswith(
        "instance a-1 of workflow explained_approval has not ended within 0.001 s. Its status is waiting. "
        "It waits for the event 'approved', without a time limit"
    )


async def test_a_body_that_caught_its_cancellation_and_goes_on_is_named(app: Romancy, open_app: Open) -> None:
    handle = await app.start(explained_catcher.options(instance_id="c-1"))
    await status_is(app, "c-1", Status.WAITING)
    assert "caught" not in " ".join(await handle.explain())
    await handle.cancel("no longer wanted")
    async for entry in handle.entries(follow=True):
        if getattr(entry.event, "id", "").startswith("approved"):
            break

    said = " ".join(await handle.explain())

    assert "Its cancellation was requested (no longer wanted). It was told to stop at " in said
    assert "its body caught CancelledError and goes on" in said
    assert "it has begun event approved (" in said
    other = await open_app(worker=False)
    assert "its body caught CancelledError and goes on: it has begun" in " ".join(await other.explain("c-1"))
    await handle.signal(Approved, "yes")
    await handle.result(timeout=60)
    assert "caught" not in " ".join(await handle.explain())


async def test_the_line_of_a_body_that_goes_on_is_told_by_its_worker(app: Romancy) -> None:
    handle = await app.start(explained_catching_sleeper.options(instance_id="c-2"))
    await status_is(app, "c-2", Status.WAITING)
    await handle.cancel()
    async for entry in handle.entries(follow=True):
        if type(entry.event).__name__ == "ActivityScheduled":
            break

    (said,) = [one for one in await handle.explain() if "caught CancelledError" in one]

    assert "goes on, at test_explaining.py, line " in said
    assert "it has begun activity explained_hesitation (explained_hesitation:1) since" in said
    await app.terminate("c-2")


async def test_a_time_out_names_the_child_that_is_waited_for(app: Romancy) -> None:
    await app.start(calls_explained_approval.options(instance_id="p-1"), "lamp")
    await status_is(app, "p-1", Status.WAITING)

    assert "It waits for its child p-1.explained_approval:1" in await in_vain(app, "p-1")


async def test_a_time_out_names_the_last_error_and_the_next_attempt(app: Romancy) -> None:
    handle = await app.start(calls_explained_hesitation.options(instance_id="h-1"))
    async for entry in handle.entries(follow=True):
        if type(entry.event).__name__ == "ActivityAttemptFailed":
            break

    said = await in_vain(app, "h-1")

    assert "waits for attempt 2" in said
    assert "ValueError: not yet" in said


async def test_only_the_current_run_is_told(app: Romancy) -> None:
    await app.start(explained_rounds.options(instance_id="r-1"), 3)
    await status_is(app, "r-1", Status.WAITING)

    assert "It waits for the event 'approved'" in await in_vain(app, "r-1")


async def test_a_timeout_reports_that_no_worker_is_alive(open_app: Open) -> None:
    front = await open_app(worker=False)
    await front.start(explained_approval.options(instance_id="n-1"), "lamp")

    said = await in_vain(front, "n-1")

    assert "Its status is pending" in said
    assert "No worker is alive" in said


async def test_a_sealed_log_leaves_the_status(open_app: Open) -> None:
    sealing = await open_app(codecs=[Masking()])
    await sealing.start(explained_approval.options(instance_id="s-1"), SECRET)
    await status_is(sealing, "s-1", Status.WAITING)
    front = await open_app(worker=False)

    said = await in_vain(front, "s-1")

    assert "Its status is waiting. What it waits for could not be read (CodecError)" in said
    assert SECRET not in said
    assert "It waits for the event 'approved'" in await in_vain(sealing, "s-1")
    await sealing.cancel("s-1")
    await status_is(sealing, "s-1", Status.CANCELLED)


async def test_a_failing_database_does_not_hide_the_time_out(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    await app.start(explained_approval.options(instance_id="f-1"), "lamp")
    await status_is(app, "f-1", Status.WAITING)

    async def fail(*_: Any, **__: Any) -> None:
        raise StorageUnavailableError("the database has gone")

    monkeypatch.setattr(reasons_module, "_row", fail)

    assert (
        "instance f-1 has not ended within 0.001 s. What it waits for could not be read (StorageUnavailableError)"
        == await in_vain(app, "f-1")
    )


async def test_the_app_and_the_handle_explain_an_open_instance(app: Romancy) -> None:
    handle = await app.start(explained_rounds.options(instance_id="e-1"), 2)
    await status_is(app, "e-1", Status.WAITING)

    for told in (await app.explain("e-1"), await handle.explain()):
        assert told[0].startswith("It waits for the event 'approved', without a time limit")


async def test_the_app_explains_how_an_instance_ended(app: Romancy) -> None:
    await app.start(calls_explained_refusal.options(instance_id="e-2"))
    await status_is(app, "e-2", Status.FAILED)

    ended, advice = await app.explain("e-2")

    assert "It has ended (failed)" in ended
    assert "the card was declined" in ended
    assert "romancy retry e-2" in advice


async def test_what_cannot_be_explained_is_an_error(open_app: Open) -> None:
    sealing = await open_app(codecs=[Masking()])
    await sealing.start(explained_approval.options(instance_id="e-3"), SECRET)
    await status_is(sealing, "e-3", Status.WAITING)
    front = await open_app(worker=False)

    with pytest.raises(CodecError):
        await front.explain("e-3")
    with pytest.raises(InstanceNotFoundError, match="nobody"):
        await front.explain("nobody")
    assert "It waits for the event 'approved'" in (await sealing.explain("e-3"))[0]


async def test_an_instance_names_the_event_that_it_waits_for(app: Romancy) -> None:
    await app.start(explained_approval.options(instance_id="a-2"), "lamp")
    await status_is(app, "a-2", Status.WAITING)

    plain, instance = await app.get_instance("a-2"), await app.get_instance("a-2", waits=True)

    assert plain is not None
    assert instance is not None
    assert (None, None, plain) == (plain.waits, plain.untaken, replace(instance, waits=None, untaken=None))
    assert instance.waits is not None
    (wait,) = instance.waits
    assert ("event", "approved", None, 0, None) == (wait.kind, wait.name, wait.due, wait.failed_attempts, wait.error)
    assert (None, None) == (instance.next_attempt, instance.last_error)
    assert abs(wait.since - instance.created_at) < timedelta(minutes=1)


async def test_an_instance_names_the_child_that_it_waits_for(app: Romancy) -> None:
    await app.start(calls_explained_approval.options(instance_id="p-2"), "lamp")
    await status_is(app, "p-2", Status.WAITING)

    instance = await app.get_instance("p-2", waits=True)

    assert instance is not None
    assert instance.waits is not None
    (wait,) = instance.waits
    assert ("child", "explained_approval") == (wait.kind, wait.name)
    assert (wait.child_id or "").startswith("p-2.explained_approval:1")


async def test_an_instance_names_the_next_attempt_and_the_last_error(app: Romancy) -> None:
    handle = await app.start(calls_explained_hesitation.options(instance_id="h-2"))
    async for entry in handle.entries(follow=True):
        if type(entry.event).__name__ == "ActivityAttemptFailed":
            break

    instance = await app.get_instance("h-2", waits=True)

    assert instance is not None
    assert instance.waits is not None
    (wait,) = instance.waits
    assert ("activity", "explained_hesitation", 1) == (wait.kind, wait.name, wait.failed_attempts)
    assert wait.error is not None
    assert "ValueError: not yet" in wait.error
    assert (wait.due, wait.error) == (instance.next_attempt, instance.last_error)
    assert wait.due is not None
    assert timedelta(minutes=59) < wait.due - wait.since < timedelta(minutes=62)


async def test_what_has_ended_waits_for_nothing_and_what_is_not_there_is_none(app: Romancy) -> None:
    handle = await app.start(calls_explained_refusal.options(instance_id="f-2"))
    with pytest.raises(WorkflowFailedError):
        await handle.result()

    instance = await app.get_instance("f-2", waits=True)

    assert instance is not None
    assert ((), None, instance.error) == (instance.waits, instance.next_attempt, instance.last_error)
    assert "the card was declined" in (instance.last_error or "")
    assert await app.get_instance("nobody", waits=True) is None


async def test_only_the_current_run_is_waited_in(app: Romancy) -> None:
    await app.start(explained_rounds.options(instance_id="r-2"), 3)
    await status_is(app, "r-2", Status.WAITING)

    instance = await app.get_instance("r-2", waits=True)

    assert instance is not None
    assert ["approved"] == [wait.name for wait in instance.waits or ()]
