"""A worker with several workflows; one of them ends its process every time.

    python -m romancy_conformance.behaviour.faults.poisoned URL COUNT ENDING [restarted]

The first process starts them all, the poisonous one in the middle. Every process continues what it finds, and ends by
itself when no instance is open any more. ENDING is how the poison ends its process: `exit`, `kill` or `crash`;
with the prefix `body:` the workflow's body does it, otherwise an activity. With `restarted`, something restarts the
processes after a moment, and what they do about it is ten times as fast as usual. A process that takes the time
until then for the length of a trial lives for 36 seconds before the next one, and otherwise for one or two.
"""

from __future__ import annotations

import asyncio
import os
import sys

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.engine.worker import evidence, quarantine
from romancy_conformance.process_control import crash, die

POISON = "poison"


@activity
async def drink(cup: str) -> str:
    await asyncio.sleep(0.02)
    if cup == POISON:
        end(sys.argv[3])
    return cup


def end(ending: str) -> None:
    """End this process at once."""
    if ending == "exit":
        os._exit(66)
    crash() if ending == "crash" else die()


@workflow
async def toast(ctx: WorkflowContext, cup: str) -> str:
    await drink(f"{cup} to begin with" if cup != POISON else "water")
    if cup == POISON and sys.argv[3].startswith("body:"):
        end(sys.argv[3].removeprefix("body:"))
    return await drink(cup)


async def main(url: str, count: int) -> None:
    values: dict[str, float] = {"_ALIVE": 0.05, "_TIMES_LONGER": 0}  # no process here is killed at random
    if "restarted" in sys.argv:
        values = {"_ALIVE": 0.1, "FIRST_BEAT": 0.05, "_TIMES_LONGER": 24, "_LONG_ENOUGH": 36.0}
    for name, value in values.items():
        for module in (evidence, quarantine):
            if hasattr(module, name):
                setattr(module, name, value)
    async with Romancy(url, workflows=[toast]) as app:
        cups = [f"cup-{number}" for number in range(count)]
        cups.insert(count // 2, POISON)
        if await app.get_instance(cups[0]) is None:
            await app.start_many([toast.options(instance_id=cup).bind(cup) for cup in cups])
        while (await app.list_instances(status=["pending", "running", "waiting"])).instances:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
