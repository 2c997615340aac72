"""Uses of a tap: list the statements that a call sends, and interleave two calls.

The gate stops the first call before its first statement, then (in a fresh scenario) before its second, and so on until
the call runs through. So each interleaving at statement granularity is played once, on each way on which the call may
reach the database. The other call may meet a lock or a half-written row on the way; the check looks only at what both
calls leave behind.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from romancy_conformance.taps import tap_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.taps.tap import Gate

__all__ = ["Hold", "HoldAt", "held_at", "leave", "listen", "needs_statements", "play", "run", "statements"]

T = TypeVar("T")

_BLOCKED_AFTER = 0.1
_STATEMENTS_AT_MOST = 40


class Hold:
    """A gate that stops one statement, counted from 1, until released."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._count = 0
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, statement: str, /) -> None:
        """Stop here if this is the chosen statement."""
        self._count += 1
        if self._count == self._number:
            self.reached.set()
            await self.go.wait()


class HoldAt(Hold):
    """A gate that stops the first statement of these names until released, whatever else the store sends."""

    def __init__(self, *names: str) -> None:
        super().__init__(1)
        self._names = names

    async def __call__(self, statement: str, /) -> None:
        if statement in self._names:
            await super().__call__(statement)


def listen(store: Store, gate: Gate) -> None:
    """Have the gate awaited before each statement of the store, until `leave`."""
    tap = tap_of(store)
    tap.listen(store, gate, tap.ways[0])


def leave(store: Store) -> None:
    """Listen to the store no more. What its gate holds stays held."""
    tap_of(store).leave(store)


def run(store: Store, call: Awaitable[T]) -> asyncio.Future[T]:
    """Start a call of a store that is listened to. Calls that hold the event loop's thread run in another one."""
    return tap_of(store).run(store, call)


async def held_at(hold: Hold, running: asyncio.Future[Any]) -> bool:
    """Wait until the call is held, and return True, or has ended."""
    stopped = asyncio.ensure_future(hold.reached.wait())
    await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    return hold.reached.is_set()


def needs_statements(store: Store) -> None:
    """Skip the test if the calls of this store are atomic: nothing can be held, or heard, inside one."""
    if tap_of(store).atomic:
        pytest.skip("capability: no other call can run inside a call")


async def statements(store: Store, call: Awaitable[Any]) -> list[str]:
    """Return the names of the statements that this call sends; skip the test if nothing can hear them."""
    if tap_of(store).atomic:
        asyncio.ensure_future(call).cancel()  # it will not be awaited
    needs_statements(store)
    names: list[str] = []

    async def gate(statement: str, /) -> None:
        names.append(statement)

    listen(store, gate)
    try:
        await run(store, call)
    finally:
        leave(store)
    return names


async def play(
    held: Store,
    scenario: Callable[[], Awaitable[tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]]],
) -> None:
    """Play the scenario once for each statement of its first call, on each way that this call may take.

    `scenario` prepares fresh rows and returns the two calls (not yet started) and a check of their answers and of what
    they left behind. The first call must go through the store `held`, the second through another one.
    """
    for way in tap_of(held).ways:
        number = 1
        while await _play_one(held, scenario, number, way):
            number += 1
            assert number < _STATEMENTS_AT_MOST, f"the held call sends {number} statements or more"
        assert number > 1, f"the held call sent nothing {way}: nothing was played against anything"


async def _play_one(held: Store, scenario: Callable[[], Awaitable[Any]], number: int, way: str) -> bool:
    """Hold the first call before this statement of it. Returns False if it has fewer."""
    first, second, check = await scenario()
    tap, hold = tap_of(held), Hold(number)
    tap.listen(held, hold, way)
    running: asyncio.Future[Any] = tap.run(held, first)
    was_held = await held_at(hold, running)
    other: asyncio.Future[Any] = asyncio.ensure_future(second)
    if was_held:
        await asyncio.wait({other}, timeout=_BLOCKED_AFTER)
    hold.go.set()
    one, two = await asyncio.gather(running, other)
    tap.leave(held)
    await check(one, two)
    return was_held
