"""Log lines: their fields, their texts about failures, and what they never hold."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from romancy import (
    ActivityContext,
    RetryExhaustedError,
    RetryPolicy,
    Status,
    TerminalError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.hooks import Happening, Hook, WorkflowEnded
from romancy.storage.url import parse_url
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SECRET = "canary-7f3a"
FIELDS = ("romancy_instance_id", "romancy_workflow", "romancy_activity_id", "romancy_attempt", "romancy_worker")


@activity(retry=RetryPolicy.fixed(3, 0.01))
async def flaky(secret: str) -> str:
    if activity_context().attempt < 3:
        raise ConnectionError(f"cannot send {secret}")
    return secret


@compensation
async def undo(secret: str) -> None:
    raise TerminalError(f"cannot undo {secret}")


@activity(compensation=undo)
async def do(secret: str) -> str:
    return secret


@workflow
async def succeeds(ctx: WorkflowContext, secret: str) -> str:
    await ctx.report({"secret": secret})
    return await flaky(secret)


@workflow
async def fails(ctx: WorkflowContext, secret: str) -> str:
    await do(secret)
    raise LookupError(f"no {secret}")


@workflow
async def waits(ctx: WorkflowContext, secret: str) -> str:
    event = await ctx.wait_event(secret)
    return str(event.data)


@workflow
async def leaves_the_loop(ctx: WorkflowContext, secret: str) -> None:
    await do(secret)
    await asyncio.to_thread(print, secret)


@activity(retry=RetryPolicy.none(), pass_context=True)
async def calls_back(ctx: ActivityContext, secret: str) -> str:
    def fails() -> None:
        raise LookupError(f"no {secret} to call")

    ctx.after_commit(fails)
    return secret


@activity(retry=RetryPolicy.none())
async def fails_severally(secret: str) -> None:
    raise ExceptionGroup("all of them", [LookupError(f"no {secret} here"), LookupError(f"no {secret} there")])


@activity(retry=RetryPolicy.none(), executor="process")
def fails_elsewhere(secret: str) -> None:
    raise LookupError(f"no {secret} in another process")


@workflow
async def meets_them_all(ctx: WorkflowContext, secret: str) -> str:
    await calls_back(secret)
    for each in (fails_severally, fails_elsewhere):
        try:
            await each(secret)
        except RetryExhaustedError:
            continue
    return secret


class FailingHook(Hook):
    def happened(self, event: Happening) -> None:
        if type(event) is WorkflowEnded:
            raise LookupError(f"no hook for {SECRET}")


@workflow
async def forgets(ctx: WorkflowContext, secret: str) -> None:
    async def fail() -> None:
        raise LookupError(f"no {secret}")

    ctx_task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    del ctx_task


def of(caplog: pytest.LogCaptureFixture, text: str) -> list[logging.LogRecord]:
    """Return Romancy's own log lines with this text."""
    ours = [record for record in caplog.records if record.name.partition(".")[0] == "romancy"]
    return [record for record in ours if text in record.getMessage()]


async def said(caplog: pytest.LogCaptureFixture, text: str, times: int) -> list[logging.LogRecord]:
    """Return Romancy's lines with this text, once there are as many: a row is visible before its writer logs it."""
    async with asyncio.timeout(60):
        while True:
            lines = of(caplog, text)
            if len(lines) >= times:
                return lines
            await asyncio.sleep(0.01)


async def test_a_failed_attempt_says_when_the_next_follows(open_app: Open, caplog: pytest.LogCaptureFixture) -> None:
    app = await open_app(worker_id="the-worker")
    with caplog.at_level(logging.INFO):
        handle = await app.start(succeeds, SECRET)
        await handle.result(timeout=60)

        lines = await said(caplog, "failed with", 2)
    assert [record.getMessage() for record in lines] == [
        f"instance {handle.instance_id}: attempt {number} at flaky:1 failed with ConnectionError; "
        "the next follows in 0.01 s"
        for number in (1, 2)
    ]
    assert {record.levelname for record in lines} == {"WARNING"}
    assert [tuple(vars(record)[name] for name in FIELDS) for record in lines] == [
        (handle.instance_id, "succeeds", "flaky:1", 1, "the-worker"),
        (handle.instance_id, "succeeds", "flaky:1", 2, "the-worker"),
    ]


async def test_a_failed_workflow_is_told_by_its_kind(open_app: Open, caplog: pytest.LogCaptureFixture) -> None:
    app = await open_app(worker_id="the-worker")
    with caplog.at_level(logging.INFO), pytest.raises(WorkflowFailedError):
        await app.run(fails, SECRET)

    (line,) = await said(caplog, "failed with LookupError", 1)
    assert line.levelname == "WARNING"
    (undone,) = await said(caplog, "failed with romancy.errors.TerminalError", 1)
    assert undone.getMessage().endswith("not retried")
    assert vars(undone)["romancy_activity_id"] is not None
    assert vars(line)["romancy_workflow"] == "fails"
    assert vars(line)["romancy_worker"] == "the-worker"


async def test_one_that_is_put_aside_is_told(open_app: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Logged at once, even by a worker that could not load it: a caller that awaits its result gets no notice."""

    @workflow(name="waits", version="of code that does not fit")
    async def waits_no_more(ctx: WorkflowContext, secret: str) -> str:
        return await do(secret)

    first = await open_app(worker_id="first")
    with caplog.at_level(logging.WARNING):
        at_once = await first.start(leaves_the_loop, SECRET)
        await status_is(first, at_once.instance_id, Status.STUCK)
        waiting = await first.start(waits, "go")
        await status_is(first, waiting.instance_id, Status.WAITING)
        await first.drain()

        second = await open_app(worker_id="second", workflows=[waits_no_more])
        await second.signal(waiting.instance_id, "go")
        await status_is(second, waiting.instance_id, Status.STUCK)
        lines = await said(caplog, "put aside, it is stuck", 2)

    assert [(record.levelname, *(vars(record)[name] for name in FIELDS)) for record in lines] == [
        ("WARNING", at_once.instance_id, "leaves_the_loop", None, None, "first"),
        ("WARNING", waiting.instance_id, "waits", None, None, "second"),
    ]
    concerned = [record for record in caplog.records if waiting.instance_id in record.getMessage()]
    assert len(concerned) == 1, "it is told once"


async def test_every_line_bears_the_fields_and_none_bears_a_payload(
    open_app: Open, storage_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    password = parse_url(storage_url).password
    with caplog.at_level(logging.DEBUG):
        app = await open_app(log_error_text=False, hooks=[FailingHook()])
        await app.run(succeeds, SECRET)
        await app.run(meets_them_all, SECRET)
        with pytest.raises(WorkflowFailedError):
            await app.run(fails, SECRET)
        waiting = await app.start(waits, "go")
        await status_is(app, waiting.instance_id, Status.WAITING)
        await waiting.signal("go", {"secret": SECRET})
        await waiting.result(timeout=60)
        stuck = await app.start(leaves_the_loop, SECRET)
        await status_is(app, stuck.instance_id, Status.STUCK)
        await (await app.start(forgets, SECRET)).result(timeout=60)
        cancelled = await app.start(waits, "never")
        await cancelled.cancel(SECRET)
        await app.drain()

    formatter = logging.Formatter("%(name)s %(message)s")
    ours = of(caplog, "")
    assert len(ours) > 5
    for text in (
        "callback failed (LookupError)",
        "hook FailingHook failed",
        "LookupError; not retried",
        "ExceptionGroup; no",
    ):
        assert of(caplog, text) != [], text
    for record in caplog.records:
        text = formatter.format(record)
        assert SECRET not in text
        if password:
            assert password not in text
    for record in ours:
        assert [name for name in FIELDS if not hasattr(record, name)] == []
        if record.getMessage().startswith("instance "):
            assert str(vars(record)["romancy_instance_id"]) in record.getMessage()
            assert vars(record)["romancy_workflow"] is not None


async def test_what_fails_is_told_with_message_and_traceback(open_app: Open, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        app = await open_app(hooks=[FailingHook()])
        await app.run(succeeds, SECRET)
        await app.run(meets_them_all, SECRET)
        with pytest.raises(WorkflowFailedError):
            await app.run(fails, SECRET)
        await app.run(forgets, SECRET)
        stuck = await app.start(leaves_the_loop, SECRET)
        await status_is(app, stuck.instance_id, Status.STUCK)
        await app.drain()

    formatter = logging.Formatter("%(message)s")
    told = {
        "attempt 1 at flaky:1": ["Traceback", "in flaky", f"ConnectionError: cannot send {SECRET}"],
        "attempt 1 at fails_severally:1": ["Traceback", f"no {SECRET} here", f"no {SECRET} there"],
        "attempt 1 at fails_elsewhere:1": ["in fails_elsewhere", f"LookupError: no {SECRET} in another process"],
        "after_commit callback failed": ["Traceback", f"no {SECRET} to call"],
        "hook FailingHook failed": ["Traceback", f"no hook for {SECRET}"],
        "failed with LookupError: no": [f"no {SECRET}", "in fails", "raise LookupError"],
        "the task of forgets.<locals>.fail has failed, and no code awaits it": ["in fail", f"LookupError: no {SECRET}"],
        "put aside, it is stuck": ["move it into an activity"],
    }
    for text, parts in told.items():
        lines = [formatter.format(record) for record in of(caplog, text)]
        assert lines != [], text
        for part in parts:
            assert part in lines[0]


async def test_at_the_usual_level_a_good_run_says_nothing(open_app: Open, caplog: pytest.LogCaptureFixture) -> None:
    app = await open_app(warn_when_blocked=None)  # a machine that stands still for a second is no fault here
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await app.run(calls_do, "x")

    assert of(caplog, "") == []


calls_do = calling(do)
