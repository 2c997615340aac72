"""A worker whose one workflow holds a session open: on a file, no other process can write meanwhile.

    python -m romancy_conformance.behaviour.faults.holder URL LEDGER

It works until it is told to stop.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from romancy import Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.engine import ToldToStop
from romancy_conformance.behaviour.crashes.ledger import Ledger

__all__ = ["LEASE", "faulty_session"]

LEDGER = "ROMANCY_FAULT_LEDGER"
LEASE = 4.0


@activity
async def faulty_hold(seconds: float) -> None:
    context = activity_context()
    db = await context.session()
    await db.execute(f"insert into effects values ('{context.instance_id}', '{context.activity_id}')")  # noqa: S608 - our own ids
    Ledger(Path(os.environ[LEDGER])).note("begin")
    await asyncio.sleep(seconds)


@workflow
async def faulty_session(ctx: WorkflowContext, seconds: float) -> None:
    await faulty_hold(seconds)


async def main(url: str) -> None:
    with ToldToStop() as told:
        async with Romancy(url, workflows=[faulty_session], lease=LEASE):
            await told.wait()


if __name__ == "__main__":
    os.environ[LEDGER] = sys.argv[2]
    asyncio.run(main(sys.argv[1]))
