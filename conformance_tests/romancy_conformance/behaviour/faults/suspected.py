"""A worker with long activities, errands and perhaps poison, which says what begins.

    python -m romancy_conformance.behaviour.faults.suspected URL PACE

It prints `ready`, and then the id of each long activity's instance when that begins here. PACE says what it does about
suspects: `usual`; `soon`, ten times as fast; `never`, so that none begins.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from romancy import Romancy, Workflow, activity, activity_context
from romancy.engine.worker import evidence, quarantine
from romancy_conformance.behaviour.calling import calling

__all__ = ["WORKFLOWS", "calls_buy", "calls_drink", "calls_travel"]

PACES: dict[str, dict[str, float]] = {
    "usual": {},
    "soon": {"_ALIVE": 0.1, "_ALL": 3.0, "_SHORTEST": 0.05, "FIRST_BEAT": 0.05, "_AGAIN": 0.5},
    "never": {"_ALIVE": 36_000.0},
}


@activity
async def travel(_: int) -> None:
    print(activity_context().instance_id, flush=True)
    await asyncio.sleep(36_000)


@activity
async def drink(_: int) -> None:
    os._exit(66)


@activity
async def buy(what: str) -> str:
    return what


calls_travel = calling(travel)
calls_drink = calling(drink)
calls_buy = calling(buy)


WORKFLOWS: list[Workflow[..., Any]] = [calls_travel, calls_drink, calls_buy]


async def main(url: str, pace: str) -> None:
    for name, value in PACES[pace].items():
        for module in (evidence, quarantine):
            if hasattr(module, name):
                setattr(module, name, value)
    async with Romancy(url, workflows=WORKFLOWS, max_activities=1_000):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
