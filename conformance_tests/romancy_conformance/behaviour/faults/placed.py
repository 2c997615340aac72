"""A worker process whose workflows work in places under limits, and tell a recorder of it.

The place is that of the whole workflow, of each call, or of a section.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from romancy import Limit, Romancy, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.faults.recorder import recorded

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from romancy import Workflow

__all__ = ["MOST", "PLACED", "placed", "placed_apart", "work"]

MOST: Final = 5
"""The limits allow from one to so many."""
_PORT: Final = "ROMANCY_RECORDER"


async def _work(key: str, seconds: float) -> int:
    async with recorded(int(os.environ[_PORT])):
        await asyncio.sleep(seconds)
    return 1


placed_step = activity(name="placed_step")(_work)


async def _steps(ctx: WorkflowContext, key: str, steps: int, seconds: float) -> int:
    return sum([await placed_step(key, seconds) for _ in range(steps)])


def _whole(allowed: int) -> Workflow[[str, int, float], int]:
    limit = Limit(f"placed whole {allowed}", key="key", concurrency=allowed)
    return workflow(name=f"placed_whole_{allowed}", limits=[limit])(_steps)


def _section(allowed: int) -> Workflow[[str, int, float], int]:
    limit = Limit(f"placed section {allowed}", concurrency=allowed)

    async def body(ctx: WorkflowContext, key: str, steps: int, seconds: float) -> int:
        async with ctx.limit(limit, key):
            return await _steps(ctx, key, steps, seconds)

    return workflow(name=f"placed_section_{allowed}")(body)


def _calls(allowed: int) -> Workflow[[str, int, float], int]:
    def key_of(key: str, seconds: float) -> str:
        return key

    limit = Limit(f"placed call {allowed}", key=key_of, concurrency=allowed)
    call = activity(name=f"placed_call_{allowed}", limits=[limit])(_work)

    async def body(ctx: WorkflowContext, key: str, steps: int, seconds: float) -> int:
        return sum([await call(key, seconds) for _ in range(steps)])

    return workflow(name=f"placed_calls_{allowed}")(body)


_KINDS: Final[tuple[Callable[[int], Workflow[[str, int, float], int]], ...]] = (_whole, _calls, _section)
PLACED: Final = tuple(kind(allowed) for kind in _KINDS for allowed in range(1, MOST + 1))


def placed(number: int) -> tuple[Workflow[[str, int, float], int], int]:
    """The workflow of the key with this number, and how many may be inside: every kind has every limit in turn."""
    allowed = number % MOST
    return PLACED[number % len(_KINDS) * MOST + allowed], 1 + allowed


def placed_apart(number: int) -> bool:
    """Whether each step of the workflows of this key has a place of its own."""
    return _KINDS[number % len(_KINDS)] is _calls


def work(url: str, port: int, lease: float, tells: Connection) -> None:
    """Work until told to stop. Tells when it begins."""
    os.environ[_PORT] = str(port)
    asyncio.run(_work_at(url, lease, tells))


async def _work_at(url: str, lease: float, tells: Connection) -> None:
    async with Romancy(url, workflows=PLACED, lease=lease, drain_timeout=0.2) as app:
        tells.send_bytes(b"ready")
        await app.serve()
