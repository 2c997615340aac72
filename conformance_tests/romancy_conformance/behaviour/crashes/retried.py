"""A worker that sells something, fails on the way, is repaired and retries, in a process that may die at any write.

    python -m romancy_conformance.behaviour.crashes.retried

`forking` describes how jobs arrive and how they are answered. Its effects outside are in a file: a line for each
effect, with the key by which the outside would recognise a repetition.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from romancy import (
    RetryPolicy,
    Romancy,
    TerminalError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy_conformance.behaviour.crashes.forking import TOO_LATE, Job, serve

__all__ = ["Sale", "effects"]

_ledger = Path()


class Sale(Job, frozen=True, kw_only=True):
    """One run of one process."""

    instance_id: str
    ledger: str


def effects(ledger: Path) -> list[tuple[str, str]]:
    """Return the effects outside, with their keys."""
    if not ledger.exists():
        return []
    return [(name, key) for name, key in (line.split() for line in ledger.read_text(encoding="utf-8").splitlines())]


def _do(name: str, key: str = "") -> str:
    key = key or activity_context().idempotency_key
    file = os.open(_ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{name} {key}\n".encode())
    finally:
        os.close(file)
    return key


def _repaired(what: str) -> Path:
    return _ledger.with_suffix(f".{what}")


def _unless_broken(what: str) -> str:
    key = _do(what)
    if not _repaired(what).exists():
        raise TerminalError(f"{what} is broken")
    return key


@compensation
async def refund_sale(result: str, order: str) -> None:
    """The receipt names the charge to refund."""
    _do("refund", result)


@activity(compensation=refund_sale)
async def charge_sale(order: str) -> str:
    return _do("charge")


@activity
async def note_sale(order: str) -> str:
    return _do("note")


@activity
async def wrap_box(what: str) -> str:
    return _do("wrap")


@activity
async def seal_box(what: str) -> str:
    return _unless_broken("seal")


@activity
async def ship_box(what: str) -> str:
    return _unless_broken("ship")


@workflow
async def packs(ctx: WorkflowContext, what: str) -> str:
    await wrap_box(what)
    return await seal_box(what)


@workflow
async def sells(ctx: WorkflowContext) -> str:
    order = str(ctx.uuid4())
    await asyncio.gather(note_sale(order), charge_sale(order))
    approval = await ctx.wait_event("approval")
    await asyncio.sleep(0.001)
    await packs("box")
    await ship_box("box")
    return str(approval.data)


async def play(sale: Sale) -> int:
    """Sell, and repair what is broken, until it is sold."""
    sale.arm()
    globals()["_ledger"] = Path(sale.ledger)
    async with Romancy(sale.url, workflows=[sells, packs], retry=RetryPolicy.none(), lease=30.0) as app:
        handle = await app.start(sells.options(instance_id=sale.instance_id))
        try:
            await handle.signal("approval", "yes")
        except UsageError:
            pass  # it has already ended
        try:
            async with asyncio.timeout(sale.limit):
                while True:
                    try:
                        await handle.result()
                    except WorkflowFailedError:
                        missing = [path for path in map(_repaired, ("seal", "ship")) if not path.exists()]
                        if missing:
                            missing[0].touch()
                        await app.retry(sale.instance_id)
                    else:
                        return 0
        except TimeoutError:
            return TOO_LATE


if __name__ == "__main__":
    serve(Sale, play)
