"""A worker whose one workflow holds a session open: on a file, no other process can write meanwhile.

    python -m romancy_conformance.behaviour.faults.holder URL LEDGER

It works until it is told to stop.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from romancy import Romancy, activity, activity_context
from romancy.engine import ToldToStop
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.crashes.ledger import Ledger

__all__ = ["LEASE", "calls_faulty_hold"]

LEDGER = "ROMANCY_FAULT_LEDGER"
LEASE = 4.0


@activity
async def faulty_hold(seconds: float) -> None:
    context = activity_context()
    db = await context.session()
    await db.execute(f"insert into effects values ('{context.instance_id}', '{context.activity_id}')")  # noqa: S608 - our own ids
    Ledger(Path(os.environ[LEDGER])).note("begin")
    await asyncio.sleep(seconds)


calls_faulty_hold = calling(faulty_hold)


async def main(url: str) -> None:
    with ToldToStop() as told:
        async with Romancy(url, workflows=[calls_faulty_hold], lease=LEASE):
            await told.wait()


if __name__ == "__main__":
    os.environ[LEDGER] = sys.argv[2]
    asyncio.run(main(sys.argv[1]))
