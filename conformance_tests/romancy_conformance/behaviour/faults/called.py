"""A worker process, and a workflow that does one after another whatever a storm of calls can meet.

    python -m romancy_conformance.behaviour.faults.called URL --ledger FILE

It prints `ready` and works until SIGTERM. The file's folder has a file for each repaired breakdown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

from romancy import RetryPolicy, Romancy, TerminalError, Workflow, WorkflowContext, activity, activity_context, workflow

__all__ = ["CALLED", "FOLDER", "LAST", "breaks", "called_line", "repair"]

FOLDER = "ROMANCY_CALLED_FOLDER"
LAST = -1
"""The number that ends an instance."""
_RUN = 4


def breaks(number: int) -> bool:
    """Whether this number makes the run fail until it is repaired."""
    return number % 11 == 5


def repair(folder: Path, life: str, number: int) -> None:
    (folder / f"{life}-{number}").touch()


@activity(retry=RetryPolicy.none())
async def called_break(life: str, number: int) -> None:
    if not (Path(os.environ[FOLDER]) / f"{life}-{number}").exists():
        raise TerminalError(f"{number} is broken")


@activity
async def called_write(life: str, number: int) -> int:
    """Insert one row into the table, in the commit that ends the activity."""
    session = await activity_context().session()
    await session.execute(f"insert into effects values ('{life}', '{number}')")  # noqa: S608 - our own words
    return number


@activity
async def called_step(number: int) -> int:
    await asyncio.sleep(0.02)
    return number


@workflow
async def called_child(ctx: WorkflowContext, number: int) -> int:
    await ctx.sleep(0.01)
    return await called_step(number)


@workflow
async def called_line(ctx: WorkflowContext, life: str, got: list[int]) -> list[int]:
    """Return every number sent to it, in their order; after a few of them, begin a new run."""
    while True:
        number = (await ctx.wait_event("number", model=int)).data
        if number == LAST:
            return got
        if number % 7 == 3:
            assert set(await asyncio.gather(called_step(number), called_child(number))) == {number}
        if breaks(number):
            await called_break(life, number)
        got.append(await called_write(life, number))
        if len(got) % _RUN == 0:
            called_line.recur(life, got)


CALLED: list[Workflow[..., Any]] = [called_line, called_child]


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--ledger", type=Path, required=True)
    options = parser.parse_args()
    os.environ[FOLDER] = str(options.ledger.parent)
    async with Romancy(options.url, workflows=CALLED, lease=2.0, drain_timeout=0.2) as app:
        print("ready", flush=True)
        await app.serve()


if __name__ == "__main__":
    asyncio.run(main())
