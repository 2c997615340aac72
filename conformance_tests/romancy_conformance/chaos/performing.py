"""One run of a program, with every operation there is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy.errors import TerminalError
from romancy_conformance.chaos.concurrent import CONCURRENT
from romancy_conformance.chaos.interpreting import EFFECTS, HANDLERS, interpret
from romancy_conformance.chaos.messaging import MESSAGES
from romancy_conformance.chaos.programs import RETRIED
from romancy_conformance.chaos.scoped import SCOPED
from romancy_conformance.chaos.undoing import UNDOING

if TYPE_CHECKING:
    from romancy_conformance.chaos.interpreting import World
    from romancy_conformance.chaos.programs import Program

__all__ = ["perform"]

HANDLERS.update(EFFECTS | UNDOING | MESSAGES | CONCURRENT | SCOPED)


async def perform(world: World, program: Program, run: int) -> Any:
    """Perform one run of a program, counted from 0; the last one ends as the program says."""
    value = await interpret(world, program.runs[run])
    if run + 1 < len(program.runs):
        world.recur()
    if program.ending == "fails":
        raise TerminalError("as the program says")
    if program.ending == "exhausts":
        await world.do("exhausted", "end")
    if program.ending == "stops-itself":
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
    if program.ending == "waits":
        await world.do("reserve", "last")
        await world.do("mended", "last", program.failures)
    if program.ending == "recalled":
        await world.do("reserve", "last")
        await world.do("write", "ready")
        await world.do("mended", "last", program.failures)
    elif program.ending in RETRIED:
        await world.do("reserve", "last")
        value = [value, *await asyncio.gather(*map(world.child, program.kin))]
        await world.do("relents", "last", program.failures)
    if program.ending == "cancelled":
        await world.do("write", "ready")
        await asyncio.sleep(86_400)
    return value
