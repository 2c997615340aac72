"""The cast: workflows whose names say what they do, the activities that they call, and the record of these.

A test that needs just "a workflow that waits" takes it from here. What says something particular of a test stays in it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal

from romancy import (
    TerminalError,
    WorkflowContext,
    activity,
    activity_context,
    compensation,
    workflow,
)

__all__ = [
    "Record",
    "act",
    "adds_up",
    "adds_up_abreast",
    "charge",
    "does",
    "fails",
    "hears",
    "receives",
    "record",
    "refund",
    "returns",
    "sleeps",
    "waits",
    "waits_at_a_gate",
    "waits_for_its_child",
    "works",
]


@dataclass
class Record:
    """What the activities of the cast did in a test, and what the test has told them."""

    calls: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Every attempt with its key, and every undoing with its own."""
    broken: set[str] = field(default_factory=set[str])
    """What fails for good."""
    gates: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    """What waits until its gate is set. An undoing only does so if it has a gate."""

    def forget(self) -> None:
        self.calls.clear()
        self.broken.clear()
        self.gates.clear()

    def do(self, what: str) -> str:
        self.calls.append((what, activity_context().idempotency_key))
        if what in self.broken:
            raise TerminalError(f"{what} is broken")
        return what

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def keys(self, name: str) -> list[str]:
        return [key for called, key in self.calls if called == name]


record = Record()


# ── activities ───────────────────────────────────────────────────────────────────────────────────────────────────────


@compensation
async def refund(what: str) -> None:
    record.do(f"refund {what}")
    if f"refund {what}" in record.gates:
        await record.gates[f"refund {what}"].wait()


@activity(compensation=refund)
async def charge(what: str) -> str:
    return record.do(what)


@activity
async def act(what: str) -> str:
    return record.do(what)


@activity
async def waits_at_a_gate(what: str) -> str:
    record.do(what)
    await record.gates[what].wait()
    return what


@activity
async def number(value: int) -> int:
    return value


# ── workflows ────────────────────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def returns(ctx: WorkflowContext, value: Any = None) -> Any:
    """End at once with what it was given."""
    return value


@workflow
async def fails(ctx: WorkflowContext, why: str = "no") -> None:
    raise TerminalError(why)


@workflow
async def waits(ctx: WorkflowContext, event: str = "go", key: str | None = None) -> Any:
    """Wait for one event, and return its data."""
    return (await ctx.wait_event(event, key=key)).data


@workflow
async def hears(ctx: WorkflowContext, event: str = "go", count: int = 1) -> list[Any]:
    """Wait for so many events of one name, one after the other, and return their data."""
    return [(await ctx.wait_event(event)).data for _ in range(count)]


@workflow
async def receives(
    ctx: WorkflowContext, mode: Literal["broadcast", "competing"] = "broadcast", count: int = 1, channel: str = "orders"
) -> list[Any]:
    """Subscribe to a channel, and return the data of so many messages."""
    subscribed = ctx.channel(channel)
    await subscribed.subscribe(mode)
    return [(await subscribed.receive()).data for _ in range(count)]


@workflow
async def sleeps(ctx: WorkflowContext, seconds: float = 86_400.0) -> None:
    await ctx.sleep(seconds)


@workflow
async def works(ctx: WorkflowContext, what: str = "work") -> str:
    """Do one step."""
    return await act(what)


@workflow
async def does(ctx: WorkflowContext, steps: list[str]) -> list[Any]:
    """Take these steps in turn: `charge …` can be undone, `gate …` stands at its gate, `wait …` is for an event.

    Any other step is an act, which fails for good while the record says that it is broken.
    """
    done: list[Any] = []
    for step in steps:
        match step.split():
            case ["charge", *_]:
                done.append(await charge(step))
            case ["gate", *_]:
                done.append(await waits_at_a_gate(step))
            case ["wait", event]:
                done.append((await ctx.wait_event(event)).data)
            case _:
                done.append(await act(step))
    return done


@workflow
async def adds_up(ctx: WorkflowContext, steps: int) -> int:
    """Do so many steps, one after the other."""
    return sum([await number(each) for each in range(steps)])


@workflow
async def adds_up_abreast(ctx: WorkflowContext, steps: int) -> int:
    """Do so many steps side by side."""
    return sum(await asyncio.gather(*[number(each) for each in range(steps)]))


@workflow
async def waits_for_its_child(ctx: WorkflowContext, child: str = "child", event: str = "go") -> Any:
    """Wait for a child of this id, which waits for one event."""
    return await waits.options(instance_id=child)(event)
