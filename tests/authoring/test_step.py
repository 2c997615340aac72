"""What `ctx.step` refuses, each by the name of the step, before anything runs."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from romancy import RetryPolicy, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.core import ActivityScheduled
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio


@activity
async def other() -> int:
    return 1


async def needs(a: int, b: int = 1, *, c: int) -> int:
    return a + b + c


def generates() -> Iterator[int]:
    yield 1


async def generates_later() -> AsyncIterator[int]:
    yield 1


@workflow
async def another(ctx: WorkflowContext) -> None: ...


@workflow
async def misuses(ctx: WorkflowContext, kind: str) -> None:
    untyped: Any = ctx
    given: dict[str, Any] = {
        "a call": lambda: untyped.step("ask", needs(1, c=2)),
        "no function": lambda: untyped.step("ask", 3),
        "arguments": lambda: untyped.step("ask", needs),
        "bound too little": lambda: untyped.step("ask", functools.partial(needs, 1)),
        "generator": lambda: untyped.step("ask", generates),
        "async generator": lambda: untyped.step("ask", generates_later),
        "activity": lambda: untyped.step("ask", OTHER[0]),
        "workflow": lambda: untyped.step("ask", OTHER[1]),
        "no name": lambda: untyped.step("", generates),
        "long name": lambda: untyped.step("n" * 1000, generates),
        "name is no text": lambda: untyped.step(3, generates),
        "about is no JSON": lambda: untyped.step("ask", lambda: 1, about=object()),
        "about is large": lambda: untyped.step("ask", lambda: 1, about="a" * 16_384),
        "raises": lambda: untyped.step("ask", lambda: 1, raises=[3]),
        "timeout": lambda: untyped.step("ask", lambda: 1, timeout=0),
        "heartbeat": lambda: untyped.step("ask", lambda: 1, heartbeat_timeout=-1),
        "retry": lambda: untyped.step("ask", lambda: 1, retry=3),
        "type": lambda: untyped.step("ask", lambda: 1, model=threading.Event),
    }
    await given[kind]()


OTHER: list[Any] = [other, another]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("a call", r"ctx.step\('ask'\) takes a function, and was given a call of one; leave the parentheses out"),
        ("no function", r"ctx.step\('ask'\) takes a function without arguments, not int"),
        ("arguments", r"ctx.step\('ask'\): its function needs the argument\(s\) a, c"),
        ("bound too little", r"ctx.step\('ask'\): its function needs the argument\(s\) c"),
        ("generator", r"ctx.step\('ask'\): a generator has no single result"),
        ("async generator", r"ctx.step\('ask'\): a generator has no single result"),
        ("activity", r"ctx.step\('ask'\): 'other' is declared as activity already; await it in the body"),
        ("workflow", r"ctx.step\('ask'\): 'another' is declared as workflow already; await it in the body"),
        ("no name", "name of a step: must not be empty"),
        ("long name", "name of a step: 1000 bytes"),
        ("name is no text", "name of a step: must be a string, not int"),
        ("about is no JSON", "about of step 'ask'"),
        ("about is large", "about of step 'ask': 16,386 bytes, at most 16,384 are allowed"),
        ("raises", r"ctx.step\('ask'\): raises= takes a list of exception classes, not \[3\]"),
        ("timeout", "the timeout of step 'ask' must be longer than 0 s"),
        ("heartbeat", "the heartbeat_timeout of step 'ask'"),
        ("retry", "retry= takes a RetryPolicy, not int"),
        ("type", "result of step 'ask', declared as .*Event, cannot be stored"),
    ],
)
async def test_bad_input_is_refused_by_name_and_nothing_runs(kind: str, words: str) -> None:
    async with TestApp([misuses]) as app:
        with pytest.raises(
            WorkflowFailedError,
            match=f"(UsageError|RegistrationError|SerializationError|PayloadTooLargeError): {words}",
        ):
            await app.run(misuses, kind)
        assert list(app.calls) == []


@workflow
async def steps(ctx: WorkflowContext) -> list[int]:
    base = 40

    async def ask(number: int) -> int:
        return base + number

    def on_a_thread() -> int:
        return base

    first = await ctx.step("ask", functools.partial(ask, 1))
    several = await ctx.map(lambda number: ctx.step("ask", functools.partial(ask, number)), range(3))
    await ctx.sleep(60)
    return [first, *several, await ctx.step("thread", on_a_thread)]


async def test_steps_survive_a_crash_at_every_commit() -> None:
    crashes = await crash_at_every_commit(steps)
    assert len(crashes) > 10
    assert all(crash.result == [41, 40, 41, 42, 40] for crash in crashes)


times: list[int] = []


@workflow
async def tells(ctx: WorkflowContext) -> int:
    times.append(1)  # differs from one replay to the next
    one = await ctx.step("ask", lambda: 1, about={"prompt": f"telling {len(times)}"})
    await ctx.sleep(60)
    return one + await ctx.step("plain", lambda: 1)


async def test_a_step_is_shown_with_what_it_is_about_and_no_replay_compares_that() -> None:
    assert len(await crash_at_every_commit(tells)) > 4
    async with TestApp([tells]) as app:
        handle = await app.start(tells)
        await handle.result()
        asked = [one for one in await handle.history() if isinstance(one, ActivityScheduled)]
    assert [(one.name, bytes(one.args)) for one in asked] == [("ask", b"{}"), ("plain", b"{}")]
    assert bytes(asked[0].about).startswith(b'{"prompt":"telling ')
    assert b"about" not in msgspec.json.encode(asked[1])


class LimitError(Exception):
    def __init__(self, model: str) -> None:
        super().__init__(f"{model} is busy")
        self.model = model


@workflow
async def fails_by_class(ctx: WorkflowContext) -> str:
    async def ask() -> int:
        raise LimitError("m1")

    try:
        await ctx.step("ask", ask, retry=RetryPolicy.fixed(2, 0.01), raises=[LimitError])
    except LimitError as error:
        return f"{type(error) is LimitError} {error} {error.model}"
    return ""


async def test_a_step_raises_what_it_declares_as_itself() -> None:
    assert all(one.result == "True m1 is busy m1" for one in await crash_at_every_commit(fails_by_class))
