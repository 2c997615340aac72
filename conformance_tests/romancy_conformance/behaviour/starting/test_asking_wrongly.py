"""What a workflow or an activity may not ask for: each is refused where it asks, and the log bears nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    Status,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.core import (
    ActivityFailed,
    ActivityScheduled,
    MessagePublished,
    WorkflowCompleted,
    WorkflowStarted,
)
from romancy_conformance.behaviour.bad_values import IDS, TOO_LARGE
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.publishing import published
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio


@activity(retry=RetryPolicy.none())
async def step(number: int) -> int:
    return number


@activity(retry=RetryPolicy.none())
async def publishes(name: Any, data: Any) -> None:
    await activity_context().publish(name, data)


@activity(retry=RetryPolicy.none())
async def publishes_untyped(what: str) -> None:
    """The activity makes a value that no argument could bring."""
    await activity_context().publish("before", 1)
    if what == "data":
        await activity_context().publish("event", object())
    else:
        key: Any = 5
        await activity_context().publish("event", 1, key=key)


@workflow
async def publishes_nonsense(ctx: WorkflowContext, how: str) -> list[str]:
    key: Any = 5
    attempts = {
        "name": lambda: publishes("", 1),
        "length": lambda: publishes("x" * 300, 1),
        "data": lambda: publishes_untyped("data"),
        "key": lambda: publishes_untyped("key"),
        "own name": lambda: ctx.publish("", 1),
        "own data": lambda: ctx.publish("event", object()),
        "own size": lambda: ctx.publish("event", "x" * TOO_LARGE),
        "own key": lambda: ctx.publish("event", 1, key=key),
    }
    try:
        await attempts[how]()
    except RetryExhaustedError as error:
        return [error.error_type.rpartition(".")[2], ""]
    except UsageError as error:
        return [type(error).__name__, str(error)]
    return ["no error", ""]


@workflow
async def asks_wrongly(ctx: WorkflowContext, how: str, what: str) -> str:
    wrong: Any = IDS[what]
    calls: dict[str, Callable[[], Any]] = {
        "activity": lambda: step.options(id=wrong)(1),
        "child": lambda: returns.options(instance_id=wrong)(1),
        "event": lambda: ctx.wait_event(wrong),
        "key": lambda: ctx.wait_event("go", key=wrong),
        "retry": lambda: step.options(retry=wrong)(1),
    }
    try:
        if how == "patch":
            ctx.patched(wrong)
        else:
            await calls[how]()
    except UsageError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


@workflow
async def chooses_twice(ctx: WorkflowContext) -> str:
    await step.options(id="mine")(1)
    await step(1)
    said: list[str] = []
    for taken in ("mine", "step:1"):
        try:
            await step.options(id=taken)(1)
        except UsageError as error:
            said.append(str(error))
    return " and ".join(said)


@workflow
async def descends(ctx: WorkflowContext, generations: int) -> int:
    return 1 + await descends(generations - 1) if generations else 0


NO_NAME = "name of the event: must not be empty"
NO_KEY = "key of the event: must be a string, not int"
NOT_PUBLISHED = {
    "name": ("UsageError", NO_NAME),
    "length": ("UsageError", "name of the event: 300 bytes of UTF-8, at most 255 are allowed; use a shorter id"),
    "data": ("SerializationError", "event 'event': an object of type object"),
    "key": ("UsageError", NO_KEY),
    "own name": ("UsageError", NO_NAME),
    "own data": ("SerializationError", "event 'event': an object of type object"),
    "own size": ("PayloadTooLargeError", "event 'event': 2,097,154 bytes"),
    "own key": ("UsageError", NO_KEY),
}


async def test_events_that_cannot_be_published(app: Romancy, store: Store) -> None:
    """What the same attempt published before is not published either."""
    said: dict[str, tuple[str, str]] = {}
    for how, (_, beginning) in NOT_PUBLISHED.items():
        handle = await app.start(publishes_nonsense, how)
        kind, text = await handle.result(timeout=60)
        log = await handle.history()
        text = text or next(event.error.message for event in log if isinstance(event, ActivityFailed))
        said[how] = (kind, text[: len(beginning)])
        assert [] == [event for event in log if isinstance(event, MessagePublished)], how

    assert said == NOT_PUBLISHED
    assert [] == await published(store)


ASKED = {
    "activity": "activity id of step",
    "child": "instance id",
    "event": "name of the event",
    "patch": "name of the patch",
}


async def test_names_and_ids_that_no_log_could_hold(app: Romancy) -> None:
    """The call raises in the workflow; the log contains nothing that could not be read again."""
    for how, what in itertools.product(ASKED, IDS):
        handle = await app.start(asks_wrongly, how, what)
        said = await handle.result(timeout=60)

        assert said.startswith(f"UsageError: {ASKED[how]}: "), (how, what)
        assert [WorkflowStarted, WorkflowCompleted] == [type(event) for event in await handle.history()], (how, what)


@pytest.mark.parametrize(
    ("how", "what", "expected"),
    [
        ("key", "int", NO_KEY),
        ("key", "bytes", "key of the event: must be a string, not bytes"),
        ("key", "surrogate", "key of the event: holds half of a surrogate pair"),
        ("retry", "int", "retry= takes a RetryPolicy, not int"),
    ],
    ids=["number", "bytes", "surrogate", "policy"],
)
async def test_invalid_keys_and_policies_are_refused_inside_a_workflow(
    app: Romancy, how: str, what: str, expected: str
) -> None:
    handle = await app.start(asks_wrongly, how, what)
    said = await handle.result(timeout=60)

    assert said.startswith(f"UsageError: {expected}")
    assert [WorkflowStarted, WorkflowCompleted] == [type(event) for event in await handle.history()]


async def test_an_activity_id_that_is_taken(app: Romancy) -> None:
    handle = await app.start(chooses_twice)

    taken = "the activity id {!r} is already taken in this workflow run; choose another"
    assert await handle.result(timeout=60) == " and ".join(map(taken.format, ("mine", "step:1")))
    scheduled = [event.id for event in await handle.history() if isinstance(event, ActivityScheduled)]
    assert scheduled == ["mine", "step:1"]


@pytest.mark.parametrize(("instance_id", "generations"), [("d", 25), ("d" * 255, 2)], ids=["many", "from a long id"])
async def test_children_whose_ids_would_grow_too_long(app: Romancy, instance_id: str, generations: int) -> None:
    """No user chose these ids: one that would be too long for a row is shortened."""
    handle = await app.start(descends.options(instance_id=instance_id), generations)

    assert await handle.result(timeout=60) == generations
    ids = [instance.instance_id async for instance in app.iter_instances()]
    assert len(ids) == generations + 1
    assert max(map(len, ids)) <= 255


apps: list[Romancy] = []
"""The last one belongs to the running test."""


@workflow
async def uses_the_app(ctx: WorkflowContext, how: str) -> None:
    match how:
        case "start":
            await apps[-1].start(returns, 1)
        case "run":
            await apps[-1].run(returns, 1)
        case "signal":
            await apps[-1].signal("somebody", "go")
        case _:
            with contextlib.suppress(Exception):
                await apps[-1].start(returns.options(instance_id="in secret"), 1)


@pytest.mark.parametrize("how", ["start", "run", "signal", "in secret"])
async def test_an_app_in_a_workflow(app: Romancy, how: str) -> None:
    """Every replay would repeat the call. The instance is parked until its code is repaired, and nothing begins."""
    apps.append(app)
    handle = await app.start(uses_the_app, how)
    await status_is(app, handle.instance_id, Status.STUCK)

    instance = await app.get_instance(handle.instance_id)
    assert instance is not None
    call, remedy = ("signal", "ctx.send(name") if how == "signal" else ("start", "ctx.start(workflow")
    assert str(instance.error).startswith(f"app.{call} was called in a workflow")
    assert f"on replay: {'send it' if how == 'signal' else 'begin a child'} with `await {remedy}" in str(instance.error)
    assert "activity" not in str(instance.error)
    assert [handle.instance_id] == [each.instance_id async for each in app.iter_instances()]


async def test_an_app_on_another_loop(app: Romancy) -> None:
    """As in a thread with its own `asyncio.run`: the app belongs to the loop that opened it."""
    with pytest.raises(UsageError, match="run_coroutine_threadsafe"):
        await asyncio.to_thread(lambda: asyncio.run(app.run(returns, 1)))

    loop = asyncio.get_running_loop()
    begun = await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(app.run(returns, 1), loop).result(60))
    assert begun == 1


SESSIONS = {
    "of the context": "open the session in an activity",
    "of an activity": "A body is replayed, and would run the statements of a session again",
}


@workflow
async def writes_by_itself(ctx: WorkflowContext, how: str) -> None:
    match how:
        case "of the context":
            async with ctx.session():  # type: ignore[attr-defined]
                pass
        case _:
            await activity_context().session()


@pytest.mark.parametrize("how", SESSIONS)
async def test_a_session_in_the_body_of_a_workflow(app: Romancy, how: str) -> None:
    handle = await app.start(writes_by_itself, how)

    with pytest.raises(WorkflowFailedError) as caught:
        await handle.result()

    assert SESSIONS[how] in str(caught.value)
    assert "activity" in str(caught.value)
