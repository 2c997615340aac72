"""Harms workers at random: kills, freezes and drains them, and replaces them by new ones."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from romancy_conformance.behaviour.faults.field import Field, Process

__all__ = ["harmed"]


async def harmed(field: Field, workers: list[Process], chance: random.Random, over: asyncio.Task[None]) -> int:
    """Replace one worker after another by a new one until it is over. Return how many."""
    frozen: list[Process] = []
    harms = 0
    while not over.done():
        victim = workers.pop(chance.randrange(len(workers)))
        harms += 1
        match chance.choice(("kill", "freeze", "drain")):
            case "kill":
                victim.kill()
            case "freeze":
                victim.send(signal.SIGSTOP)
                frozen.append(victim)
            case _:
                await victim.stopped()
        workers.append(await field.worker("--lease", "3"))
        if frozen and chance.random() < 0.3:
            frozen.pop(0).send(signal.SIGCONT)
        await asyncio.wait({over}, timeout=chance.uniform(1.0, 3.0))
    return harms
