"""Activities: sessions that commit with the result, dependencies, time-outs, threads, what may not be written."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from typing import TYPE_CHECKING

import pytest

from romancy import (
    ActivityContext,
    Depends,
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    TerminalError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.core import ActivityCompleted
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.contract.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy.none()
AT_ONCE = RetryPolicy.fixed(3, 0.0)
ledgers: list[Ledger] = []
seen: list[object] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    seen.clear()


@pytest.fixture
async def ledger(storage_url: str, app: Romancy) -> AsyncIterator[Ledger]:
    """A user's table in the app's database."""
    store = create_store(storage_url)
    await store.open()
    made = await Ledger(store).create()
    ledgers.append(made)
    yield made
    ledgers.remove(made)
    await store.close()


@activity(retry=AT_ONCE)
async def book(key: str, fail_first: int) -> int:
    context = activity_context()
    session = await context.session()
    await ledgers[-1].write(session, key, context.attempt)
    if context.attempt <= fail_first:
        raise ConnectionError("after the write")
    return context.attempt


@activity(retry=ONCE, transactional=False)
async def without_session() -> None:
    await activity_context().session()


@activity(retry=ONCE, pass_context=True)
async def wrong_native(ctx: ActivityContext) -> None:
    await ctx.session(threading.Thread)


calls_book = calling(book)


@workflow
async def no_session(ctx: WorkflowContext) -> str:
    for wrong in (without_session, wrong_native):
        try:
            await wrong()
        except RetryExhaustedError as error:
            seen.append(str(error))
    return "told"


@activity
async def booked_between(key: str) -> None:
    session = await activity_context().session()
    await ledgers[-1].write(session, key, 1)


@workflow
async def bookings_at_once(ctx: WorkflowContext, count: int) -> None:
    await asyncio.gather(*(booked_between(f"{ctx.instance_id} {number}") for number in range(count)))


async def pool() -> AsyncIterator[list[str]]:
    opened: list[str] = ["open"]
    seen.append(opened)
    yield opened
    opened.append("closed")


@activity
async def uses_pool(word: str, *, things: list[str] = Depends(pool)) -> int:
    things.append(word)
    return len(things)


@workflow
async def with_pool(ctx: WorkflowContext) -> int:
    await uses_pool("a")
    return await uses_pool("b")


@activity(timeout=0.05, retry=RetryPolicy.fixed(2, 0.0))
async def too_slow() -> None:
    await asyncio.Event().wait()


@workflow
async def slow(ctx: WorkflowContext) -> str:
    try:
        await too_slow()
    except RetryExhaustedError as error:
        return f"{error.attempts} {error.error_type.rpartition('.')[2]}"
    return "in time"


@activity
def blocking(word: str) -> str:
    seen.append(threading.current_thread().name)
    return f"{word} {activity_context().attempt}"


calls_blocking = calling(blocking)


@activity(executor="process", retry=AT_ONCE)
def elsewhere(numbers: list[int]) -> dict[str, int]:
    if not numbers:
        raise TerminalError("nothing to add")
    return {"sum": sum(numbers), "pid": os.getpid()}


calls_elsewhere = calling(elsewhere)


@activity(retry=ONCE)
async def unwritable() -> object:
    return {"a": [1, float("nan")]}


calls_unwritable = calling(unwritable)


@activity(retry=ONCE)
async def binds_like_a_cursor(sql: str) -> list[list[str]]:
    """Return the notes added to the driver's error, for each way to ask."""
    session = await activity_context().session()
    said: list[list[str]] = []
    for ask in (session.execute, session.fetch_all, session.fetch_one):
        try:
            async with session.savepoint():
                await ask(sql, (1, 2))
        except Exception as error:  # noqa: BLE001 - each driver has its own
            said.append(getattr(error, "__notes__", []))
    return said


calls_binds_like_a_cursor = calling(binds_like_a_cursor)


@activity
async def keyed() -> str:
    context = activity_context()
    if context.attempt == 1:
        seen.append(context.idempotency_key)
        raise ConnectionError("again")
    return context.idempotency_key


@workflow
async def keys(ctx: WorkflowContext) -> list[str]:
    return [await keyed.options(retry=AT_ONCE)(), await keyed.options(retry=AT_ONCE)()]


async def test_a_session_commits_with_the_result(app: Romancy, ledger: Ledger) -> None:
    assert await app.run(calls_book, "k", 0) == 1
    assert await ledger.read("k") == 1


async def test_a_failed_attempt_leaves_nothing_behind(app: Romancy, ledger: Ledger) -> None:
    assert await app.run(calls_book, "k", 2) == 3
    assert await ledger.read("k") == 3


async def test_an_exhausted_activity_leaves_nothing_behind(app: Romancy, ledger: Ledger) -> None:
    with pytest.raises(WorkflowFailedError, match="after the write"):
        await app.run(calls_book, "k", 9)

    assert await ledger.read("k") is None


async def test_sessions_at_once(app: Romancy, ledger: Ledger) -> None:
    handle = await app.start(bookings_at_once, 20)
    await handle.result(timeout=60)

    assert [await ledger.read(f"{handle.instance_id} {number}") for number in range(20)] == [1] * 20


async def test_a_session_where_there_is_none(app: Romancy) -> None:
    assert await app.run(no_session) == "told"
    assert any("transactional=False" in str(text) for text in seen)
    assert any("not a Thread" in str(text) for text in seen)


async def test_a_dependency_is_opened_once_and_closed_with_the_app(open_app: Open, storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[with_pool]) as app:
        assert await app.run(with_pool) == 3

    assert ["open", "a", "b", "closed"] in seen


async def test_a_time_out_ends_the_attempt(app: Romancy) -> None:
    assert await app.run(slow) == "2 ActivityTimeoutError"


async def test_a_plain_function_runs_on_a_thread(app: Romancy) -> None:
    assert await app.run(calls_blocking, "word") == "word 1"
    assert any(str(name).startswith("romancy-activity") for name in seen)


async def test_a_function_on_a_process_of_its_own(app: Romancy) -> None:
    answer = await app.run(calls_elsewhere, [1, 2, 3])

    assert answer["sum"] == 6
    assert answer["pid"] != os.getpid()
    with pytest.raises(WorkflowFailedError, match="TerminalError: nothing to add"):
        await app.run(calls_elsewhere, [])


async def test_what_cannot_be_written_is_named(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError, match=r"unwritable.*\$\.a\[1\]"):
        await app.run(calls_unwritable)


async def test_the_idempotency_key_is_the_same_for_all_attempts(app: Romancy) -> None:
    first, second = await app.run(keys)

    assert first != second
    assert {first, second} <= set(map(str, seen))


@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")
async def test_parameters_in_one_tuple_are_told_how_to_come(app: Romancy, backend: str) -> None:
    sql = {"sqlite": "select ? + ?", "postgres": "select $1::int + $2::int"}.get(backend, "select %s + %s")

    said = await app.run(calls_binds_like_a_cursor, sql)

    assert ["one by one" in str(notes) for notes in said] == [True, True, True]


async def test_the_context_is_the_activitys_alone() -> None:
    with pytest.raises(UsageError, match="while an activity runs"):
        activity_context()


async def test_a_dependency_can_be_exchanged_for_a_test(app: Romancy) -> None:
    mine: list[str] = ["mine"]

    with app.override(pool, lambda: mine):
        assert await app.run(with_pool) == 3

    assert mine == ["mine", "a", "b"]


color: contextvars.ContextVar[str] = contextvars.ContextVar("color", default="none")


@activity
async def paints(new: str) -> str:
    before = color.get()
    color.set(new)
    return before


@workflow
async def painted(ctx: WorkflowContext) -> list[str]:
    return [await paints("red"), await paints("green"), *await asyncio.gather(paints("blue"), paints("white"))]


async def test_what_an_activity_sets_in_its_context_nobody_else_sees(storage_url: str) -> None:
    color.set("the app's")
    async with Romancy(storage_url, workflows=[painted]) as app:
        color.set("the caller's")
        assert await app.run(painted) == ["the app's"] * 4


class Running:
    """Counts the activities that run now, and the most that ran at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.done = 0

    async def for_a_moment(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        self.done += 1


running: list[Running] = []
"""The last one belongs to the running test."""


@activity(retry=AT_ONCE)
async def runs_for_a_moment(failures: int) -> int:
    await running[-1].for_a_moment()
    if activity_context().attempt <= failures:
        raise ConnectionError("once more")
    return 1


@workflow
async def five_at_once(ctx: WorkflowContext) -> int:
    return sum(await asyncio.gather(*[runs_for_a_moment(int(number == 0)) for number in range(5)]))


async def test_no_more_activities_run_at_once_than_are_allowed(open_app: Open) -> None:
    """Of one workflow or of many, first attempts or later ones; and each of them runs."""
    running.append(Running())
    app = await open_app(max_activities=3)
    handles = await app.start_many([five_at_once.bind() for _ in range(20)])

    assert [5] * 20 == [await handle.result(timeout=60) for handle in handles]
    assert (running[-1].most, running[-1].done) == (3, 20 * 6)


@activity
async def takes_a_while() -> None:
    await asyncio.sleep(0.01)


@workflow
async def two_at_once(ctx: WorkflowContext) -> None:
    await asyncio.gather(takes_a_while(), takes_a_while())


async def test_the_log_says_how_long_an_attempt_waited_for_a_slot(open_app: Open) -> None:
    app = await open_app(max_activities=1)
    handle = await app.start(two_at_once)
    await handle.result(timeout=60)

    ends = [event for event in await app.history(handle.instance_id) if isinstance(event, ActivityCompleted)]
    assert ["takes_a_while:1", "takes_a_while:2"] == [event.id for event in ends]
    assert 0 == ends[0].queued
    assert ends[1].queued > 1_000, "the first attempt had the only slot for longer than that"


def breaks() -> None:
    seen.append("broken")
    raise ValueError("a callback's own trouble")


def gives_up() -> None:
    seen.append("given up")
    raise asyncio.CancelledError


def exits() -> None:
    seen.append("exiting")
    raise SystemExit(3)


@activity(retry=AT_ONCE)
async def calls_back(where: str) -> int:
    context = activity_context()
    if where == "in a session":
        await context.session()
    context.after_commit(lambda: seen.append(f"attempt {context.attempt}"))
    if context.attempt == 1:
        raise ConnectionError("nothing of this attempt counts")
    context.after_commit(breaks)
    context.after_commit(gives_up)
    context.after_commit(exits)
    context.after_commit(lambda: seen.append("last"))
    seen.append("returning")
    return context.attempt


@activity(retry=ONCE)
async def calls_back_async() -> None:
    activity_context().after_commit(asyncio.Event().wait)


@workflow
async def called_back_async(ctx: WorkflowContext) -> str:
    try:
        await calls_back_async()
    except RetryExhaustedError as error:
        return f"{error.error_type} {error.__cause__}"
    return "no error"


async def test_a_callback_that_would_have_to_be_awaited_is_refused(app: Romancy) -> None:
    said = await app.run(called_back_async)

    assert said.startswith("romancy.errors.UsageError")
    assert "after_commit calls a plain function" in said


@workflow
async def called_back(ctx: WorkflowContext, where: str) -> int:
    return await calls_back(where) + await calls_back(where)


@pytest.mark.parametrize("where", ["plain", "in a session"])
async def test_callbacks_run_once_after_the_commit_and_disturb_nobody(app: Romancy, where: str) -> None:
    assert await app.run(called_back, where) == 4
    assert seen == ["returning", "attempt 2", "broken", "given up", "exiting", "last"] * 2
