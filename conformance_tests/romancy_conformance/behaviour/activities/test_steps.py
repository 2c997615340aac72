"""Steps: functions of the body that run as activities without a declaration."""

from __future__ import annotations

import asyncio
import functools
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    ActivityTimeoutError,
    HeartbeatTimeoutError,
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    current_workflow,
    in_workflow,
    workflow,
)
from romancy.core import ActivityCompleted, ActivityScheduled
from romancy_conformance.behaviour.gates import Gate
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

tenant: ContextVar[str] = ContextVar("tenant", default="unset")
told: list[str] = []
broken: set[str] = set()
gate = Gate()


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    global gate  # noqa: PLW0603 - the workflows of the test have it from here
    told.clear()
    broken.clear()
    gate = Gate()


@dataclass
class Answer:
    text: str
    tokens: int


@workflow
async def st_asks(ctx: WorkflowContext, question: str) -> list[Any]:
    async def ask() -> Answer:
        told.append(question)
        return Answer(f"{question}!", 3)

    def look() -> str:
        return threading.current_thread().name

    async def plus(number: int) -> tuple[int, int]:
        return number, number + 1

    answer = await ctx.step("ask", ask)
    name = await ctx.step("look", look)
    pair = await ctx.step("pair", functools.partial(plus, 4))
    again = await ctx.step("again", lambda: Answer("t", 1), model=Answer)
    assert (type(answer), type(pair), type(again)) == (Answer, tuple, Answer)
    return [answer.text, name != threading.main_thread().name, list(pair), again.tokens]


async def test_a_step_is_an_activity_in_the_log_under_its_name(app: Romancy) -> None:
    handle = await app.start(st_asks, "why")
    assert await handle.result(timeout=60) == ["why!", True, [4, 5], 1]

    log = await handle.history()
    asked = [(event.id, event.name, bytes(event.args)) for event in log if isinstance(event, ActivityScheduled)]
    assert asked == [(f"{name}:1", name, b"{}") for name in ("ask", "look", "pair", "again")]
    answers = [bytes(event.result) for event in log if isinstance(event, ActivityCompleted)]
    assert (answers[0], answers[2:]) == (b'{"text":"why!","tokens":3}', [b"[4,5]", b'{"text":"t","tokens":1}'])


@workflow
async def st_retries(ctx: WorkflowContext, base: int) -> list[int]:
    made: list[str] = []

    async def attempt(number: int) -> int:
        told.append(f"{number} {activity_context().attempt} {made}")
        if "again" in broken:
            raise ConnectionError("not yet")
        return base + number

    made.append("as the replay makes it")
    policy = RetryPolicy.fixed(50, 0.05)
    calls = [ctx.step("attempt", functools.partial(attempt, number), retry=policy) for number in range(3)]
    return list(await asyncio.gather(*calls))


async def test_parallel_steps_are_tried_again_by_another_worker(open_app: Open, storage_url: str) -> None:
    broken.add("again")
    await open_app(worker=False)  # keeps a database in memory
    async with Romancy(storage_url, workflows=[st_retries]) as first:
        await first.start(st_retries.options(instance_id="r"), 40)
        await until(lambda: len({one for one in told if one.split()[1] == "2"}) == 3)
    before = len(told)
    app = await open_app(workflows=[st_retries])
    await until(lambda: len(told) > before + 3)
    broken.clear()

    assert await app.handle("r").result(timeout=60) == [40, 41, 42]
    assert all(one.endswith("['as the replay makes it']") for one in told)
    counts = [int(one.split()[1]) for one in told if one.startswith("0 ")]
    assert counts == sorted(set(counts))


@workflow
async def st_waits(ctx: WorkflowContext) -> str:
    async def ask() -> str:
        told.append("asked")
        return "answer"

    answer = await ctx.step("ask", ask)
    await ctx.wait_event("go")
    return answer


async def test_a_step_that_has_ended_does_not_run_again_on_another_worker(open_app: Open, storage_url: str) -> None:
    await open_app(worker=False)
    async with Romancy(storage_url, workflows=[st_waits]) as first:
        await first.start(st_waits.options(instance_id="w"))
        await status_is(first, "w", Status.WAITING)
    app = await open_app(workflows=[st_waits])
    await app.signal("w", "go")

    assert await app.handle("w").result(timeout=60) == "answer"
    assert told == ["asked"]


@workflow
async def st_sees(ctx: WorkflowContext) -> list[str]:
    async def see() -> str:
        seen = tenant.get()
        tenant.set("from a step")
        assert not in_workflow()
        return f"{seen} {activity_context().activity_id}"

    def see_on_a_thread() -> str:
        with pytest.raises(UsageError):
            current_workflow()
        return f"{tenant.get()} {activity_context().idempotency_key != ''}"

    tenant.set("t")
    return [await ctx.step("see", see), await ctx.step("thread", see_on_a_thread), tenant.get()]


async def test_a_step_sees_the_variables_of_the_body_and_its_attempt(app: Romancy) -> None:
    assert await app.run(st_sees) == ["t see:1", "t True", "t"]


@workflow
async def st_hangs(ctx: WorkflowContext, kind: str) -> str:
    async def hang() -> None:
        told.append("hangs")
        try:
            await asyncio.Event().wait()
        finally:
            told.append("stopped")

    if kind == "timeout":
        await ctx.step("hang", hang, timeout=0.05, retry=RetryPolicy.none())
    if kind == "heartbeat":
        await ctx.step("hang", hang, heartbeat_timeout=0.05, retry=RetryPolicy.none())
    if kind == "body":
        try:
            async with asyncio.timeout(0.05):
                await ctx.step("hang", hang)
        except TimeoutError:
            return "given up"
    await ctx.step("hang", hang)
    return "never"


async def test_a_step_that_is_cancelled_stops(app: Romancy) -> None:
    handle = await app.start(st_hangs, "")
    await until(lambda: told == ["hangs"])
    await handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)
    assert told == ["hangs", "stopped"]


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("timeout", ActivityTimeoutError, "activity hang took longer than 0.05 s"),
        ("heartbeat", HeartbeatTimeoutError, "activity hang sent no heartbeat for 0.05 s"),
    ],
)
async def test_a_limit_ends_an_attempt_at_a_step(app: Romancy, kind: str, error: type[Exception], words: str) -> None:
    with pytest.raises(WorkflowFailedError, match=words) as caught:
        await app.run(st_hangs, kind)
    assert isinstance(caught.value.__cause__, error)
    assert told == ["hangs", "stopped"]


async def test_a_body_that_gives_a_step_up_goes_on(app: Romancy) -> None:
    assert await app.run(st_hangs, "body") == "given up"
    await until(lambda: told == ["hangs", "stopped"])


@workflow
async def st_returns(ctx: WorkflowContext, kind: str) -> str:
    def bad() -> Any:
        told.append(kind)
        return object() if kind == "no JSON" else "x" * 3_000_000 if kind == "large" else later()

    async def later() -> int:
        return 1

    def typed() -> int:
        told.append(kind)
        return "no int"  # type: ignore[return-value] # what a caller may do

    try:
        await ctx.step("bad", typed if kind == "type" else bad)
    except RetryExhaustedError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no JSON", "result of step 'bad'"),
        ("large", "result of activity bad:1"),
        ("type", "result of step 'bad'"),
        ("coroutine", "ctx.step('bad'): its function is a plain one, and has returned a coroutine"),
    ],
)
async def test_a_result_that_cannot_be_kept_names_the_step_and_is_not_asked_for_again(
    app: Romancy, kind: str, words: str
) -> None:
    said = await app.run(st_returns, kind)
    assert words in said
    assert "after 1 attempt(s)" in said
    assert told == [kind]


@workflow
async def st_nests(ctx: WorkflowContext, on_a_thread: bool) -> str:  # noqa: FBT001 - an input of the test
    async def inner() -> int:
        return 1

    async def outer() -> int:
        return await ctx.step("inner", inner)

    def outer_on_a_thread() -> int:
        return asyncio.run(outer())

    try:
        await (ctx.step("outer", outer_on_a_thread) if on_a_thread else ctx.step("outer", outer))
    except RetryExhaustedError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("on_a_thread", [False, True])
async def test_a_step_within_a_step_is_refused_by_name(app: Romancy, on_a_thread: bool) -> None:  # noqa: FBT001
    said = await app.run(st_nests, on_a_thread)
    assert "ctx.step('inner') was called outside of the body of workflow st_nests" in said
    assert "after 1 attempt(s)" in said


@workflow
async def st_charges(ctx: WorkflowContext, name: str) -> list[int]:
    async def charge() -> int:
        told.append(name)
        return 1

    return [await ctx.step(name, charge), await st_charge()]


@activity(name="st_charged")
async def st_charge() -> int:
    return 2


async def test_a_step_with_the_name_of_an_activity_of_the_workflow_is_refused(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError, match=r"ctx.step\('st_charged'\): workflow st_charges has an activity of"):
        await app.run(st_charges, "st_charged")
    assert told == []
    assert await app.run(st_charges, "st_charge") == [1, 2]


@workflow
async def st_forgets(ctx: WorkflowContext) -> None:
    async def ask() -> int:
        return 1

    ctx.step("forgotten", ask)  # type: ignore[unused-coroutine]  # the mistake


async def test_a_step_that_is_not_awaited_is_named(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError, match="forgotten in st_forgets"):
        await app.run(st_forgets)


@workflow
async def st_fails(ctx: WorkflowContext) -> list[int]:
    async def count(number: int) -> int:
        told.append(str(number))
        if number == 2 and "count" in broken:
            raise ConnectionError("not yet")
        return number

    return [await ctx.step("count", functools.partial(count, number), retry=RetryPolicy.none()) for number in range(4)]


async def test_a_retry_of_the_instance_keeps_the_steps_that_have_ended(app: Romancy) -> None:
    broken.add("count")
    handle = await app.start(st_fails)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    broken.clear()
    await app.retry(handle.instance_id)

    assert await handle.result(timeout=60) == [0, 1, 2, 3]
    assert told == ["0", "1", "2", "2", "3"]


@workflow
async def st_recurs(ctx: WorkflowContext, total: int) -> int:
    async def add() -> int:
        return total + ctx.run

    total = await ctx.step("add", add)
    if ctx.run < 3:
        st_recurs.recur(total)
    return total


async def test_each_run_has_steps_of_its_own(app: Romancy) -> None:
    assert await app.run(st_recurs, 0) == 6
