"""Uses of the gate: list the statements that a call sends, and interleave two calls.

The gate stops the first call before its first statement, then (in a fresh scenario) before its second, and so on until
the call runs through. So each interleaving at statement granularity is played once. The other call may meet a lock or a
half-written row on the way; the check looks only at what both calls leave behind.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store

__all__ = ["Hold", "HoldAt", "play", "statements"]

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
    """A gate that stops the first statement of this name until released, whatever else the store sends."""

    def __init__(self, name: str) -> None:
        super().__init__(1)
        self._name = name

    async def __call__(self, statement: str, /) -> None:
        if statement == self._name:
            await super().__call__(statement)


async def statements(store: Store, call: Awaitable[Any]) -> list[str]:
    """Return the names of the statements that this call sends."""
    names: list[str] = []

    async def gate(statement: str, /) -> None:
        names.append(statement)

    store.gate = gate
    try:
        await call
    finally:
        store.gate = None
    return names


async def play(
    held: Store,
    scenario: Callable[[], Awaitable[tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]]],
) -> int:
    """Play the scenario once for each statement of its first call; return the number of plays.

    `scenario` prepares fresh rows and returns the two calls (not yet started) and a check of their answers and of what
    they left behind. The first call must go through the store `held`, the second through another one.
    """
    for number in range(1, _STATEMENTS_AT_MOST):
        first, second, check = await scenario()
        hold = Hold(number)
        held.gate = hold
        running = asyncio.ensure_future(first)
        stopped = asyncio.ensure_future(hold.reached.wait())
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        was_held = hold.reached.is_set()
        other = asyncio.ensure_future(second)
        if was_held:
            await asyncio.wait({other}, timeout=_BLOCKED_AFTER)
        hold.go.set()
        answers = await asyncio.gather(running, other)
        held.gate = None
        stopped.cancel()
        await check(*answers)
        if not was_held:
            assert number > 1, "the held call never came to the gate: nothing was played against anything"
            return number
    raise AssertionError(f"the held call sends more than {_STATEMENTS_AT_MOST} statements")
