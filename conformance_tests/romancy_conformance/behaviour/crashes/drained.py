"""A worker that is told to stop with all kinds of work in progress, in a process that may die at any of its writes.

    python -m romancy_conformance.behaviour.crashes.drained

`forking` describes how jobs arrive and how they are answered. A worker continues what earlier workers left, starts its
own shift, and stops in the middle of it.
"""

from __future__ import annotations

import asyncio

from romancy import Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.status import TERMINAL_STATUSES, Status
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.crashes.forking import TOO_LATE, Job, serve

__all__ = ["RESULTS", "WORKFLOWS", "Shift"]

_OPEN = tuple(set(Status) - TERMINAL_STATUSES)


class Shift(Job, frozen=True, kw_only=True):
    """One run of one process. Its failpoint counts from the moment the process is told to stop."""

    name: str = ""
    """Prefix of the ids of the instances it starts; if empty, it continues existing instances until all have ended."""
    hasty: bool = False
    """Whether it begins its shift while it still takes over existing instances."""


class _Here:
    """What the activities know of their process."""

    def __init__(self) -> None:
        self.shift = Shift(url="")
        self.stopping = asyncio.Event()
        self.at_work = asyncio.Event()
        self._begun: set[str] = set()

    def is_mine(self) -> bool:
        """Whether the activity belongs to this shift, and not to an earlier one."""
        instance_id = activity_context().instance_id
        mine = bool(self.shift.name) and instance_id.startswith(f"{self.shift.name}-")
        if mine:
            self._begun.add(instance_id)
        if len(self._begun) == _AT_WORK:
            self.at_work.set()
        return mine


_here = _Here()


@activity
async def shift_short() -> str:
    """Its end is written while its worker stops."""
    if _here.is_mine():
        await _here.stopping.wait()
    return "short"


@activity
async def shift_writes() -> str:
    """Like `shift_short`, with a session."""
    if _here.is_mine():
        await _here.stopping.wait()
    context = activity_context()
    db = await context.session()
    await db.execute(f"insert into effects values ('{context.instance_id}', '{context.activity_id}')")  # noqa: S608 - ids of this module's making
    return "writes"


@activity
async def shift_long() -> str:
    """The drain cuts it off, and another worker makes it again."""
    if _here.is_mine():
        await asyncio.Event().wait()
    return "long"


@workflow
async def shift_steps(ctx: WorkflowContext) -> str:
    """Another worker begins what follows its first activity."""
    return await shift_short() + await shift_writes()


calls_shift_writes = calling(shift_writes)
calls_shift_long = calling(shift_long)


@workflow
async def shift_rests(ctx: WorkflowContext) -> str:
    """It is loaded only because its time is near."""
    await asyncio.sleep(0.3)
    return "rested"


calls_shift_short = calling(shift_short)
calls_calls_shift_short = calling(calls_shift_short)


WORKFLOWS = (shift_steps, calls_shift_writes, calls_shift_long, shift_rests, calls_shift_short, calls_calls_shift_short)
RESULTS = {
    "steps": (shift_steps, "shortwrites"),
    "commits": (calls_shift_writes, "writes"),
    "cut_off": (calls_shift_long, "long"),
    "rests": (shift_rests, "rested"),
    "parent": (calls_calls_shift_short, "short"),
}
"""What each shift starts, and how that ends, whichever worker is killed."""
_AT_WORK = 4
"""Activities that a shift has in progress when it stops."""


async def play(shift: Shift) -> int:
    """Continue existing instances, start a shift, and stop in its middle."""
    _here.shift = shift
    point = shift.arm(counting=False)
    try:
        async with (
            asyncio.timeout(shift.limit),
            Romancy(shift.url, workflows=WORKFLOWS, lease=30.0, drain_timeout=0.1) as app,
        ):
            while not shift.hasty and (await app.list_instances(status=_OPEN)).instances:  # noqa: ASYNC110 - asked
                await asyncio.sleep(0.01)
            if shift.name:
                calls = [kind.options(instance_id=f"{shift.name}-{name}").bind() for name, (kind, _) in RESULTS.items()]
                await app.start_many(calls)
                await _here.at_work.wait()
            if point is not None:
                point.begin()
            asyncio.get_running_loop().call_later(0.001, _here.stopping.set)  # by then the worker waits for them to end
    except TimeoutError:
        return TOO_LATE
    return 0


if __name__ == "__main__":
    serve(Shift, play)
