"""Bad input: each is a typed, clear error before anything is written, or fails where it was produced."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceNotFoundError,
    PayloadTooLargeError,
    QueryError,
    RegistrationError,
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    SerializationError,
    Status,
    StorageError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.core import ActivityAttemptFailed, ActivityFailed, MessageReceived
from romancy.errors import SchemaVersionError, StorageConfigurationError
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.bad_values import IDS, TOO_LARGE
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.contract.building import start
from romancy_conformance.contract.dialects import dialect_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

UNTYPED: Any = object()


@activity(retry=RetryPolicy.none())
async def text_of(size: int) -> str:
    return "x" * size


@activity(retry=RetryPolicy.none())
async def no_json() -> Any:
    return {"deep": [object()]}


@activity(retry=RetryPolicy.none())
async def publishes(name: Any, data: Any) -> None:
    await activity_context().publish(name, data)


@workflow
async def length(ctx: WorkflowContext, text: str) -> int:
    return len(text)


@workflow
async def large_result_of_an_activity(ctx: WorkflowContext) -> str:
    try:
        return await text_of(TOO_LARGE)
    except RetryExhaustedError as error:
        return str(error.__cause__)


@workflow
async def large_results_at_once(ctx: WorkflowContext) -> int:
    return sum(map(len, await asyncio.gather(*[text_of(1_500_000) for _ in range(4)])))


@workflow
async def no_json_of_an_activity(ctx: WorkflowContext) -> str:
    try:
        await no_json()
    except RetryExhaustedError as error:
        return str(error.__cause__)
    return "no error"


@workflow
async def large_result(ctx: WorkflowContext, size: int) -> str:
    return "x" * size


@workflow
async def no_json_of_its_own(ctx: WorkflowContext) -> Any:
    await text_of(1)
    return object()


@workflow
async def passes_too_much(ctx: WorkflowContext, what: str) -> str:
    try:
        await (publishes("x", "x" * TOO_LARGE) if what == "activity" else length("x" * TOO_LARGE))
    except PayloadTooLargeError as error:
        return str(error)
    return "no error"


def unkept(what: str) -> Any:
    return {"type": ["one"], "size": "x" * TOO_LARGE, "json": object()}[what]


TRIED_AGAIN = RetryPolicy.fixed(3, 0.01)


@activity(retry=TRIED_AGAIN)
async def charges(what: str) -> int | str:
    return unkept(what)  # type: ignore[no-any-return]


@activity(retry=TRIED_AGAIN)
def charges_on_a_thread(what: str) -> Any:
    return unkept(what)


@activity(retry=TRIED_AGAIN, executor="process")
def charges_on_a_process(what: str) -> Any:
    return unkept(what)


@workflow
async def charges_once(ctx: WorkflowContext, where: str, what: str) -> int:
    function: Any = {"loop": charges, "thread": charges_on_a_thread, "process": charges_on_a_process}[where]
    return await function(what)  # type: ignore[no-any-return]


stranger = workflow(name="stranger")(length.fn)


@workflow
async def parent_of_a_stranger(ctx: WorkflowContext) -> int:
    await text_of(1)
    return await stranger("x")


@pytest.fixture
def workflows() -> list[Any]:
    """All workflows except the stranger."""
    return [
        length,
        passes_too_much,
        waits,
        large_result_of_an_activity,
        large_results_at_once,
        no_json_of_an_activity,
        large_result,
        no_json_of_its_own,
        parent_of_a_stranger,
        charges_once,
    ]


async def nothing_is_there(app: Romancy) -> bool:
    """Whether the database has no instance."""
    return (await app.list_instances()).instances == []


async def test_only_workflows_are_started(app: Romancy) -> None:
    things: list[Any] = [b"length", text_of, length.fn, 5, None]
    for thing in things:
        with pytest.raises(UsageError, match="@workflow"):
            await app.start(thing)
        with pytest.raises(UsageError, match="bind"):
            await app.start_many([thing])
    with pytest.raises(UsageError, match="bind"):
        await app.start_many([length])  # type: ignore[arg-type]

    assert await nothing_is_there(app)


async def test_arguments_that_do_not_fit(app: Romancy) -> None:
    starts: list[Any] = [((), {}), ((1,), {}), (("a", "b"), {}), (("a",), {"more": 1}), ((), {"other": "a"})]
    for args, kwargs in starts:
        with pytest.raises(UsageError):
            await app.start(length, *args, **kwargs)
    assert await nothing_is_there(app)


async def test_one_bad_call_among_several_and_none_is_started(app: Romancy) -> None:
    with pytest.raises(SerializationError, match="parameter 'text'"):
        await app.start_many([length.bind("a"), length.bind(UNTYPED), length.bind("c")])
    with pytest.raises(UsageError, match="empty"):
        await app.start_many([length.bind("a"), length.options(instance_id="").bind("b")])

    assert await nothing_is_there(app)


async def test_ids_that_cannot_be(app: Romancy) -> None:
    untyped: list[Any] = list(IDS.values())
    for bad in untyped:
        with pytest.raises(UsageError, match="instance id"):
            await app.start(length.options(instance_id=bad), "a")
        with pytest.raises(UsageError, match="instance id"):
            await app.signal(bad, "go", 1)
        with pytest.raises(UsageError, match="instance id"):
            await app.cancel(bad)
        assert await app.get_instance(bad) is None
        with pytest.raises(InstanceNotFoundError):
            await app.handle(bad).status()
        with pytest.raises(InstanceNotFoundError):
            await app.retry(bad)
        with pytest.raises(InstanceNotFoundError):
            await app.terminate(bad)
    assert await nothing_is_there(app)


async def test_input_that_is_too_large(app: Romancy) -> None:
    with pytest.raises(PayloadTooLargeError, match="at most"):
        await app.start(length, "x" * TOO_LARGE)

    assert await nothing_is_there(app)
    assert await app.run(length, "x") == 1


@pytest.mark.parametrize("what", ["activity", "child"])
async def test_arguments_that_are_too_large(app: Romancy, what: str) -> None:
    said = await app.run(passes_too_much, what)

    assert said.startswith({"activity": "arguments of activity publishes", "child": "input of workflow length"}[what])


async def test_a_result_that_is_too_large_fails_the_attempt(app: Romancy) -> None:
    said = await app.run(large_result_of_an_activity)

    assert "PayloadTooLargeError" in said
    assert "text_of:1" in said


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("loop", "type"),
        ("loop", "size"),
        ("thread", "json"),
        ("thread", "size"),
        ("process", "json"),
        ("process", "size"),
    ],
)
async def test_an_activity_whose_result_cannot_be_kept_is_not_called_again(app: Romancy, where: str, what: str) -> None:
    """The activity has done its work; another attempt would charge again and fail in the same way."""
    handle = await app.start(charges_once, where, what)
    with pytest.raises(
        WorkflowFailedError, match=r"(Serialization|PayloadTooLarge)Error: .* after 1 attempt of charges"
    ):
        await handle.result()

    history = await handle.history()
    assert not [event for event in history if isinstance(event, ActivityAttemptFailed)]
    assert [event.attempts for event in history if isinstance(event, ActivityFailed)] == [1]


async def test_results_that_are_too_large_together(app: Romancy) -> None:
    """Each is within its limit; they arrive at once, and need not be in one commit."""
    assert await app.run(large_results_at_once) == 6_000_000


async def test_a_result_that_is_no_json_names_the_activity_and_the_place(app: Romancy) -> None:
    said = await app.run(no_json_of_an_activity)

    assert said.startswith("result of activity 'no_json' at $.deep[0]")


async def test_a_workflow_whose_result_is_not_json_becomes_stuck(app: Romancy) -> None:
    """Its code can be repaired, and then it continues: nothing is lost."""
    handle = await app.start(no_json_of_its_own)
    await status_is(app, handle.instance_id, Status.STUCK)

    instance = await app.get_instance(handle.instance_id)
    assert instance is not None
    assert "result of workflow 'no_json_of_its_own'" in (instance.error or "")


@pytest.mark.parametrize("size", [TOO_LARGE, 2 * TOO_LARGE + 1000], ids=["for an event", "for a commit"])
async def test_a_workflow_whose_result_is_too_large_becomes_stuck(app: Romancy, size: int) -> None:
    handle = await app.start(large_result, size)
    await status_is(app, handle.instance_id, Status.STUCK)

    instance = await app.get_instance(handle.instance_id)
    assert instance is not None
    assert f"result of workflow large_result: {size + 2:,} bytes, at most" in (instance.error or "")


async def test_signals_that_cannot_be_sent(app: Romancy) -> None:
    handle = await app.start(waits)
    untyped: Any = handle
    for name in ("", 5, None, "x" * 300, "\x00"):
        with pytest.raises(UsageError, match="name of the event"):
            await untyped.signal(name, 1)
    for key in (5, b"x", "\ud800"):
        with pytest.raises(UsageError, match="key of the event"):
            await untyped.signal("go", 1, key=key)
    with pytest.raises(SerializationError, match="signal 'go'"):
        await handle.signal("go", object())
    with pytest.raises(PayloadTooLargeError, match="at most"):
        await handle.signal("go", "x" * TOO_LARGE)

    await handle.signal("go", "well")
    assert await handle.result(timeout=60) == "well"
    assert ["go"] == [
        event.message.topic.name for event in await handle.history() if isinstance(event, MessageReceived)
    ]


async def test_a_message_counts_with_its_metadata(app: Romancy) -> None:
    """One commit of its receiver has to hold both."""
    half = "x" * (TOO_LARGE // 2)
    with pytest.raises(PayloadTooLargeError, match="with its metadata"):
        await app.channel("large").publish(half, metadata={"more": half})
    await app.channel("large").publish(half, metadata={"more": "little"})


async def test_reasons_that_nobody_could_read(app: Romancy) -> None:
    handle = await app.start(waits)
    untyped: Any = app
    for reason in (5, None, "\ud800"):
        for ends in (untyped.cancel, untyped.terminate):
            with pytest.raises(UsageError, match="reason: "):
                await ends(handle.instance_id, reason=reason)
        for ends_many in (untyped.cancel_many, untyped.terminate_many):
            for dry_run in (True, False):
                with pytest.raises(UsageError, match="reason: "):
                    await ends_many(reason=reason, dry_run=dry_run)

    await handle.signal("go", "well")
    assert await handle.result(timeout=60) == "well"


async def test_a_workflow_the_app_does_not_know_waits_for_one_that_does(
    app: Romancy, open_app: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "romancy"):
        handle = await app.start(stranger, "four")
        await app.start(stranger.options(delay=3600), "four")
    said = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert [text for text in said if "workflow" in text] == [
        "workflow stranger was started here and this app does not know it"
    ]
    assert await app.run(length, "abc") == 3
    assert await handle.status() is Status.PENDING

    await open_app(workflows=[stranger])
    assert await handle.result(timeout=60) == 4


async def test_a_child_the_worker_does_not_know_waits_for_one_that_does(app: Romancy, open_app: Open) -> None:
    handle = await app.start(parent_of_a_stranger)
    await status_is(app, handle.instance_id, Status.WAITING)
    (child,) = [one async for one in app.iter_instances() if one.workflow_name == stranger.name]
    assert (Status.PENDING, handle.instance_id) == (child.status, child.parent_id)

    await open_app(workflows=[stranger])
    assert 1 == await handle.result(timeout=60)


async def test_invalid_times_are_refused(app: Romancy) -> None:
    handle = await app.start(waits)
    untyped: list[Any] = [-1, "soon", float("nan"), float("inf"), True]
    for timeout in untyped:
        with pytest.raises(UsageError, match="timeout"):
            await handle.result(timeout=timeout)
        with pytest.raises(UsageError, match="delay"):
            waits.options(delay=timeout)
        with pytest.raises(UsageError, match="timeout"):
            await app.drain(timeout)


async def test_questions_that_make_no_sense(app: Romancy) -> None:
    untyped: Any = app
    for options in ({"status": "odd"}, {"limit": 0}, {"limit": "x"}, {"page_token": "zz"}, {"workflow_name": 5}):
        with pytest.raises(QueryError):
            await untyped.list_instances(**options)
    for where in (["x"], {"a..b": 1}, {"a": {"b": 1}}, {5: 1}):
        with pytest.raises(QueryError):
            await untyped.find_instances(where)


async def test_an_app_that_is_closed_or_open_twice(storage_url: str, workflows: list[Any]) -> None:
    app = Romancy(storage_url, workflows=workflows)
    async with app:
        handle = await app.start(length, "a")
        await handle.result(timeout=60)
        with pytest.raises(UsageError, match="open already"):
            await app.__aenter__()
        before = await handle.history()
    there = handle.instance_id
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: app.start(length, "b"),
        lambda: app.start(length.options(instance_id=there), "a"),
        lambda: app.start_many([length.bind("b"), length.bind("c")]),
        lambda: app.run(length, "b"),
        lambda: app.signal(there, "go"),
        lambda: app.publish("event", 1, session=object()),
        lambda: app.cancel(there),
        lambda: app.retry(there),
        lambda: app.resume(there),
        lambda: app.terminate(there),
        lambda: app.purge(there),
        lambda: app.cancel_many(everything=True),
        lambda: app.terminate_many(everything=True),
        lambda: app.retry_many(everything=True),
        lambda: app.resume_many(everything=True),
        lambda: app.purge_many(everything=True),
        handle.status,
        handle.history,
        handle.report,
        app.list_instances,
        app.drain,
        app.serve,
        lambda: app.__aexit__(None, None, None),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="not open") as caught:
            await call()
        assert type(caught.value) is UsageError
    async with app:
        assert [there] == [instance.instance_id for instance in (await app.list_instances()).instances]
        assert before == await app.history(there)


async def test_two_live_apps_with_one_worker_id(open_app: Open) -> None:
    first = await open_app(worker_id="the-only-one")
    with pytest.raises(UsageError, match="the-only-one"):
        await open_app(worker_id="the-only-one")

    assert await first.run(length, "abc") == 3


OPTIONS: dict[str, dict[str, Any]] = {
    "no lease": {"lease": 0},
    "less than no lease": {"lease": -1},
    "lease in words": {"lease": "long"},
    "endless lease": {"lease": float("inf")},
    "no activities": {"max_activities": 0},
    "some activities": {"max_activities": 2.5},
    "no threads": {"max_threads": 0},
    "some threads": {"max_threads": True},
    "no instances": {"max_live": 0},
    "worker id of none": {"worker_id": ""},
    "worker id with nul": {"worker_id": "\x00"},
    "worker id too long": {"worker_id": "x" * 300},
    "worker id in numbers": {"worker_id": 5},
    "drained before": {"drain_timeout": -1},
    "a policy in numbers": {"retry": 5},
    "one hook": {"hooks": 5},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        Romancy("memory://never-opened", workflows=[length], **options)


@pytest.mark.parametrize("given", [[length.fn], [text_of], "length", 5], ids=["fn", "activity", "str", "int"])
async def test_things_that_are_not_workflows_are_refused(given: Any) -> None:
    with pytest.raises(RegistrationError, match="workflows="):
        await Romancy("memory://never-opened", workflows=given).__aenter__()


@pytest.mark.parametrize("url", [5, None, "", "orders", "nosuch://x", "postgresql://u:secret@h:port/x"])
async def test_invalid_urls_are_refused(url: Any) -> None:
    with pytest.raises(StorageConfigurationError, match="storage URL") as caught:
        await Romancy(url, workflows=[length]).__aenter__()

    assert "secret" not in str(caught.value)


async def test_a_database_of_a_newer_schema(storage_url: str) -> None:
    store = create_store(storage_url)
    await store.open()
    try:
        if not store.capabilities.schema:
            pytest.skip("capability: the store has no schema")
        dialect = dialect_of(store)
        async with store.services.sessions.begin() as session:
            await session.execute(dialect.newer_schema)
            assert await session.commit(start()) == "accepted"
    finally:
        await store.close()

    with pytest.raises(SchemaVersionError, match=r"newer|9999"):
        await Romancy(storage_url, workflows=[length]).__aenter__()
    assert issubclass(SchemaVersionError, StorageError)
