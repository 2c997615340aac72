"""A saga: two reservations, a payment that fails, and both reservations taken back, the latest first.

python -m examples.order_saga [database]
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from romancy import Romancy, TerminalError, WorkflowContext, WorkflowFailedError, activity, compensation, workflow


@dataclass
class Reservation:
    reserved: bool
    item: str


@compensation
async def cancel_reservation(item: str) -> None:
    print(f"Cancelled reservation for {item}")


@activity(compensation=cancel_reservation)
async def reserve_inventory(item: str) -> Reservation:
    print(f"Reserved {item}")
    return Reservation(reserved=True, item=item)


@activity
async def charge_payment(amount: int) -> str:
    if amount > 100:
        raise TerminalError(f"{amount} is more than the card allows")
    return f"paid {amount}"


@workflow
async def order_workflow(ctx: WorkflowContext, first: str, second: str, amount: int) -> str:
    await reserve_inventory(first)
    await reserve_inventory(second)
    return await charge_payment(amount)


async def main(url: str) -> str:
    async with Romancy(url, workflows=[order_workflow]) as app:
        try:
            return await app.run(order_workflow, "item1", "item2", amount=250)
        except WorkflowFailedError as error:
            return f"failed: {error}"


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sqlite:///orders.db")))
