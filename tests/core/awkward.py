"""Workflows whose replay depends on what a process happens to have: its imports, its garbage, its addresses.

They use only the core, and nothing of pytest: every Python runs them, and continues those of another one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio

from romancy.activity import activity
from romancy.context import WorkflowContext
from romancy.errors import ActivityError, TerminalError
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import echo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@activity
async def keep(text: str) -> str:
    return text


# ── imports inside a function ───────────────────────────────────────────────────────────────────────────────────


@activity(name="charge a card")
async def charge_a_card(how: str) -> None:
    from tests.core.lazily_imported import CardRefusedError  # noqa: PLC0415 - what is tested

    class OnlyHereError(CardRefusedError):
        """No other process finds it: it exists while the function runs."""

    class NowhereElseError(TerminalError):
        """The same."""

        def __str__(self) -> str:
            return "a text of its own"

    if how == "a group":
        raise ExceptionGroup(how, [CardRefusedError(1), NowhereElseError(2)])
    if how == "a cause":
        raise ValueError(how) from CardRefusedError(1)
    raise {
        "plain": CardRefusedError(51),
        "nested": CardRefusedError.ForGoodError("never"),
        "derived": OnlyHereError(52),
        "local": NowhereElseError("local"),
    }[how]


def shape(error: Any) -> Any:
    """Return what a workflow can see of an exception."""
    members = [shape(member) for member in getattr(error, "exceptions", ())]
    code = getattr(error, "code", None)
    return error and [type(error).__qualname__, str(error), code, shape(error.__cause__), members]


async def told(how: str) -> Any:
    try:
        await charge_a_card(how)
    except (TerminalError, ActivityError) as error:
        return shape(error)


@workflow
async def catches_what_was_imported_late(ctx: WorkflowContext) -> list[str]:
    kinds = ("plain", "nested", "derived", "local", "a group", "a cause")
    return [await keep(str(await told(how))) for how in kinds]


REFUSED = "['CardRefusedError', 'refused with code 1', 1, None, []]"
EXHAUSTED = "['RetryExhaustedError', 'activity charge a card:{} failed after 5 attempt(s): {}', None, {}, []]"
CAUGHT = [
    "['CardRefusedError', 'refused with code 51', 51, None, []]",
    "['CardRefusedError.ForGoodError', 'never', None, None, []]",
    "['CardRefusedError', 'refused with code 52', 52, None, []]",
    "['TerminalError', 'local', None, None, []]",
    EXHAUSTED.format(
        5,
        "ExceptionGroup: a group",
        "['ExceptionGroup', 'a group (2 sub-exceptions)', None, None, "
        f"[{REFUSED}, ['TerminalError', '2', None, None, []]]]",
    ),
    EXHAUSTED.format(6, "ValueError: a cause", f"['ValueError', 'a cause', None, {REFUSED}, []]"),
]

# ── unfinished async generators ─────────────────────────────────────────────────────────────────────────────────


async def pages(slots: asyncio.Semaphore) -> AsyncGenerator[int, None]:
    async with slots:
        for page in range(10):
            yield await echo(page)


async def first_good(slots: asyncio.Semaphore) -> str:
    reader = pages(slots)
    error = None
    async for page in reader:
        try:
            raise ValueError(f"page {page} is bad")
        except ValueError as bad:
            error = bad  # which refers to this frame, which refers to it, and to the reader
            break
    return str(error)


@workflow
async def leaves_a_reader_in_a_cycle(ctx: WorkflowContext) -> list[int]:
    """Only once the reader is finished can another task get the slot."""
    slots = asyncio.Semaphore(1)
    read: list[int] = []
    await first_good(slots)

    async def second() -> None:
        async with slots:
            read.append(await echo(1000))

    task = asyncio.create_task(second())
    read.extend([await echo(n) for n in range(6)])
    await ctx.sleep(3)
    await task
    return read


async def one_of_many(n: int, ended: list[int], all_ended: asyncio.Event) -> AsyncGenerator[int, None]:
    try:
        yield n
    finally:
        ended.append(n)
        if len(ended) == MANY:
            all_ended.set()


MANY = 12


@workflow
async def leaves_many_in_cycles(ctx: WorkflowContext) -> list[Any]:
    """They are finished in the order in which they began, and all at once."""
    ended: list[int] = []
    all_ended = asyncio.Event()
    cycle: list[Any]
    for n in range(MANY):
        cycle = [one_of_many(n, ended, all_ended)]
        cycle.append(cycle)
        await echo(await anext(cycle[0]))
    cycle = []
    before = list(ended)
    await ctx.sleep(1)
    await all_ended.wait()
    return [before, ended]


@workflow
async def leaves_cycles_until_its_end(ctx: WorkflowContext) -> list[int]:
    ended: list[int] = []
    for n in range(MANY):
        cycle: list[Any] = [one_of_many(n, ended, asyncio.Event())]
        cycle.append(cycle)
        await echo(await anext(cycle[0]))
    return ended


async def tidies_for_long(seen: list[Any]) -> AsyncGenerator[int, None]:
    try:
        for n in range(5):
            yield n
    finally:
        seen.append(asyncio.current_task() is not None)
        async with asyncio.timeout(5):
            await asyncio.sleep(1)
            seen.append(await echo(7))


@workflow
async def leaves_what_tidies_for_long(ctx: WorkflowContext) -> list[Any]:
    seen: list[Any] = []
    async for n in tidies_for_long(seen):
        if n == 2:
            break
    await ctx.sleep(3)
    return seen


# ── many turns of the loop without requests ─────────────────────────────────────────────────────────────────────


async def through_a_queue(items: int) -> int:
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    passed: asyncio.Queue[int] = asyncio.Queue()

    async def forward() -> None:
        while True:
            passed.put_nowait(await queue.get())

    async def one(n: int) -> int:
        await queue.put(n)
        return await passed.get()

    task = asyncio.create_task(forward())
    total = sum(await asyncio.gather(*(one(n) for n in range(items))))
    task.cancel()
    return total


@workflow
async def takes_many_turns(ctx: WorkflowContext, items: int) -> list[int]:
    async with asyncio.timeout(3_600):
        within = await through_a_queue(items)
    await ctx.sleep(1)
    return [within, await through_a_queue(items), await echo(1)]


async def gives_way(times: int) -> int:
    for _ in range(times):
        await asyncio.sleep(0)
    return 1


@workflow
async def gives_way_often(ctx: WorkflowContext) -> list[int]:
    async with asyncio.timeout(3_600):
        alone = await gives_way(12_000)
        together = sum(await asyncio.gather(*(gives_way(30) for _ in range(500))))
    return [alone, together, await echo(1)]


# ── members of sets ─────────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def walks_through_sets(ctx: WorkflowContext) -> int:
    kinds: list[Any] = [asyncio.Lock, asyncio.Event, asyncio.Queue, asyncio.Condition, anyio.Event, anyio.Lock]
    walked = 0
    for kind in kinds:
        made = [kind() for _ in range(8)]
        place = {id(each): n for n, each in enumerate(made)}
        for each in set(made):
            await echo(place[id(each)])
            walked += 1
    return walked


AWKWARD: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(catches_what_was_imported_late, result=CAUGHT),
        Scenario(leaves_a_reader_in_a_cycle, result=[*range(6), 1000]),
        Scenario(leaves_many_in_cycles, result=[[], list(range(MANY))]),
        Scenario(leaves_cycles_until_its_end, result=[]),
        Scenario(leaves_what_tidies_for_long, result=[True, 7]),
        Scenario(walks_through_sets, result=48),
        Scenario(takes_many_turns, (2_000,), result=[1_999_000, 1_999_000, 1]),
        Scenario(gives_way_often, result=[1, 500, 1]),
    )
}
