"""A worker whose workflow pays at most once, in a process that may die at any write, or in the middle of a payment.

    python -m romancy_conformance.behaviour.crashes.once

`forking` describes how jobs arrive and how they are answered. Each attempt that begins is a line in a file.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from romancy import (
    ActivityUnknownError,
    RetryPolicy,
    Romancy,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy_conformance.behaviour.crashes.forking import TOO_LATE, Job, serve

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WORKFLOWS", "Once", "lines", "once_fails", "once_parent"]


class Once(Job, frozen=True, kw_only=True):
    """One run of one process."""

    instance_id: str
    ledger: str
    dies_in: str = ""
    """The payment in whose middle it dies; empty for none."""


_job: list[Once] = []


def lines(ledger: Path) -> list[tuple[str, str]]:
    """What has begun: the kind of each attempt, and its key."""
    if not ledger.exists():
        return []
    return [(kind, key) for kind, key in (line.split() for line in ledger.read_text(encoding="utf-8").splitlines())]


def _begins(kind: str) -> None:
    context = activity_context()
    file = os.open(_job[-1].ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{kind} {context.instance_id}/{context.activity_id}\n".encode())
    finally:
        os.close(file)
    if _job[-1].dies_in == kind:
        os.kill(os.getpid(), 9)


@activity(at_most_once=True)
async def once_async() -> str:
    _begins("async")
    await asyncio.sleep(0)
    return "paid"


@activity(at_most_once=True)
def once_plain() -> str:
    _begins("plain")
    return "paid"


@compensation
async def once_unpay() -> None:
    _begins("unpay")


@activity(at_most_once=True, compensation=once_unpay, compensate="attempted")
async def once_undone() -> str:
    _begins("undone")
    return "paid"


@workflow
async def once_child(ctx: WorkflowContext) -> str:
    try:
        return await once_async()
    except ActivityUnknownError:
        return "unknown"


@workflow
async def once_parent(ctx: WorkflowContext) -> list[str]:
    """Each payment is made or unknown."""
    paid: list[str] = []
    for pay in (once_async, once_plain):
        try:
            paid.append(await pay())
        except ActivityUnknownError:
            paid.append("unknown")
    both = await asyncio.gather(once_async(), once_plain(), return_exceptions=True)
    paid += [one if isinstance(one, str) else "unknown" for one in both]
    paid.append(await once_child.options(instance_id=f"{ctx.instance_id}-child")())
    return paid


@workflow
async def once_fails(ctx: WorkflowContext) -> None:
    """It fails in any case, and what may have been paid is undone."""
    with suppress(ActivityUnknownError):
        await once_undone()
    raise LookupError("nothing to pay for")


WORKFLOWS = (once_parent, once_child, once_fails)


async def play(job: Once) -> int:
    """Run both workflows to their ends."""
    _job.append(job)
    job.arm()
    async with Romancy(job.url, workflows=WORKFLOWS, retry=RetryPolicy.none(), lease=30.0) as app:
        handles = [
            await app.start(once_parent.options(instance_id=job.instance_id)),
            await app.start(once_fails.options(instance_id=f"{job.instance_id}-fails")),
        ]
        try:
            async with asyncio.timeout(job.limit):
                for handle in handles:
                    with suppress(WorkflowFailedError):
                        await handle.result()
        except TimeoutError:
            return TOO_LATE
    return 0


if __name__ == "__main__":
    serve(Once, play)
