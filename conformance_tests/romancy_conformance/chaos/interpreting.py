"""What each operation of a program does, with the same code as a workflow on a worker and without durability.

This module has effects and signals, `undoing` has undos that are registered, `messaging` has events and channels,
`concurrent` has asyncio's means, `scoped` anyio's. It knows only a `World`, not where it runs. A result is plain
JSON and does not tell which of two things came first, unless the program orders them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from romancy.errors import (
    EventTimeoutError,
    TerminalError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTimeoutError,
)
from romancy_conformance.chaos.plain import KEPT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_conformance.chaos.messaging import Post
    from romancy_conformance.chaos.programs import Node, Program

__all__ = [
    "EFFECTS",
    "HANDLERS",
    "Handler",
    "Launched",
    "Registered",
    "World",
    "block",
    "has_lasted",
    "interpret",
    "launch_cancelled",
]


class Launched(Protocol):
    """A child that is running."""

    async def result(self) -> Any: ...

    def cancel(self) -> None: ...


class Registered(Protocol):
    """An undo that is registered."""

    def take_back(self) -> None: ...


class World(Protocol):
    """What a program can ask for, besides asyncio and anyio."""

    async def do(self, what: str, key: str, count: int = 0) -> str:
        """Run an activity."""
        ...

    async def hear(self, name: str, timeout: float | None = None) -> int:
        """Wait for a signal. Raises EventTimeoutError."""
        ...

    async def child(self, program: Program) -> Any:
        """Run a child to its end."""
        ...

    async def late(self, program: Program, seconds: float) -> Any:
        """Run a child that may take so long. Raises WorkflowTimeoutError."""
        ...

    async def launch(self, program: Program) -> Launched:
        """Start a child and continue."""
        ...

    async def spawn(self, program: Program) -> None:
        """Start an independent workflow, in the session of an activity."""
        ...

    @property
    def post(self) -> Post:
        """Its events and channels."""
        ...

    def now(self) -> float:
        """Return the seconds on the workflow's own clock."""
        ...

    def is_retried(self) -> bool:
        """Whether the program is retried after it has failed."""
        ...

    def draw(self) -> str:
        """Return something random."""
        ...

    def on_undo(self, what: str, key: str) -> Registered:
        """Register an activity that undoes what the last one has done."""
        ...

    def recur(self) -> Any:
        """End this run and begin the next one."""
        ...


Handler: TypeAlias = "Callable[[World, Node], Awaitable[Any]]"


HANDLERS: dict[str, Handler] = {}
"""All operations; `performing` fills it."""


async def interpret(world: World, node: Node) -> Any:
    """Execute the node; return its result as plain JSON."""
    return await HANDLERS[node.op](world, node)


def has_lasted(world: World, since: float, seconds: float) -> bool:
    """Whether this much time has passed, apart from rounding; a retry remembers delays and does not wait for them."""
    return world.is_retried() or world.now() - since >= seconds - 0.002


async def block(world: World, node: Node) -> None:
    """Wait for something that never happens, or for hours."""
    if node.op == "sleeps":
        await asyncio.sleep(node.seconds)
    elif node.op == "hears":
        await world.hear(f"never-{node.key}")
    elif node.op == "holds":
        await world.do("hold", node.key)
    elif node.op == "keeps":
        await world.do("keep", f"{KEPT}{node.key}")
    elif node.op == "awaits":
        await world.post.wait(node.key)
    elif node.op == "idles":
        await world.post.join(node.key, "competing")
        await world.post.receive(node.key)
    else:
        await asyncio.Event().wait()


async def _leaf(world: World, node: Node) -> Any:
    return await world.do(node.op, node.key, node.count)


async def _quicks(world: World, node: Node) -> Any:
    """Several lazy activities, one after another."""
    return [await world.do("quick", f"{node.key}-{number}") for number in range(4 * node.count)]


async def _quicks_beside(world: World, node: Node) -> Any:
    """Lazy activities that are under way when a timer rings."""
    return await asyncio.gather(_quicks(world, node), _nap(world, node))


async def _nap(world: World, node: Node) -> Any:
    since = world.now()
    await asyncio.sleep(node.seconds)
    return [node.key, has_lasted(world, since, node.seconds)]


async def _draw(world: World, node: Node) -> Any:
    drawn = world.draw()
    return [node.key, drawn == await world.do("step", drawn)]


async def _raises(world: World, node: Node) -> Any:
    raise TerminalError(node.key)


async def _seq(world: World, node: Node) -> Any:
    return [await interpret(world, each) for each in node.of]


async def _attempt(world: World, node: Node) -> Any:
    done: list[Any] = []
    try:
        for each in node.of:
            done.append(await interpret(world, each))  # noqa: PERF401 - what was done before it failed counts
    except Exception as error:  # noqa: BLE001 - whatever it is, its name is part of the result
        done.append(type(error).__name__)
    return done


async def _final(world: World, node: Node) -> Any:
    try:
        return await interpret(world, node.of[0])
    finally:
        await world.do("write", node.key)


async def _signal(world: World, node: Node) -> Any:
    return [node.key, await world.hear(node.key, timeout=node.of[0].seconds)]


async def _signals(world: World, node: Node) -> Any:
    """The signals arrive in the order they were sent; one that was sent again after a lost answer is there twice."""
    heard: list[int] = []
    while len(heard) < node.count:
        number = await world.hear(node.key)
        if not heard or number != heard[-1]:
            heard.append(number)
    return heard


async def _signal_races(world: World, node: Node) -> Any:
    """A signal races with a sleep of hours, and the loser is cancelled."""
    signal = asyncio.ensure_future(world.hear(node.key))
    sleep = asyncio.ensure_future(block(world, node.of[0]))
    done, late = await asyncio.wait({signal, sleep}, return_when=asyncio.FIRST_COMPLETED)
    for each in late:
        each.cancel()
    await asyncio.wait({signal, sleep})
    return [node.key, signal in done, signal.done() and not signal.cancelled() and signal.result()]


async def _signal_none(world: World, node: Node) -> Any:
    since = world.now()
    try:
        await world.hear(node.key, timeout=node.seconds)
    except EventTimeoutError:
        return [node.key, has_lasted(world, since, node.seconds)]
    return "a signal that nobody sent"


async def _child(world: World, node: Node) -> Any:
    assert node.program is not None
    try:
        return await world.child(node.program)
    except WorkflowFailedError:
        return "the child failed"


async def _child_late(world: World, node: Node) -> Any:
    assert node.program is not None
    with suppress(WorkflowTimeoutError):
        await world.late(node.program, node.seconds)
        return "a child that waits for ever ended well"
    return "the child was late"


async def _launch(world: World, node: Node) -> Any:
    assert node.program is not None
    child = await world.launch(node.program)
    beside = await interpret(world, node.of[0])
    return [beside, await child.result()]


async def launch_cancelled(world: World, node: Node) -> Any:
    """Launch a child, and cancel it once a row is written."""
    assert node.program is not None
    child = await world.launch(node.program)
    await world.do("write", node.key)
    child.cancel()
    with suppress(WorkflowCancelledError):
        await child.result()
        return "a child that was stopped ended well"
    return "the child was cancelled"


async def _spawn(world: World, node: Node) -> Any:
    assert node.program is not None
    await world.spawn(node.program)
    return node.key


_ACTIVITIES = (
    "step", "write", "savepoint", "flaky", "reserve", "sync", "leaky", "long", "doomed", "exhausted", "quick_write",
    "quick_flaky", "guess", "gamble",
)  # fmt: skip

EFFECTS: dict[str, Handler] = {
    **dict.fromkeys(_ACTIVITIES, _leaf),
    "quicks": _quicks,
    "quicks_beside": _quicks_beside,
    "nap": _nap,
    "draw": _draw,
    "raises": _raises,
    **dict.fromkeys(("sleeps", "hears", "holds", "keeps", "awaits", "idles", "stands"), block),
    "seq": _seq,
    "attempt": _attempt,
    "final": _final,
    "signal": _signal,
    "signals": _signals,
    "signal_races": _signal_races,
    "signal_none": _signal_none,
    "child": _child,
    "child_fails": _child,
    "child_late": _child_late,
    "launch": _launch,
    "launch_cancel": launch_cancelled,
    "spawn": _spawn,
}
