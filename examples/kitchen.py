"""A kitchen that takes orders for months: everything to which a body can listen, in one program.

    python -m examples.kitchen --guests 8

Each guest is a workflow of its own, which asks the kitchen and waits for the price. The kitchen cooks one order at a
time, goes on with a new run after some orders, puts the money into a till, and has a courier bring the dishes. Kill it
where you like and start it again: every guest gets one answer, and the till has what they paid.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from romancy import (
    EventType,
    RequestType,
    RetryPolicy,
    Romancy,
    TerminalError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    entity,
    register_type,
    workflow,
)
from romancy.hooks import Hook

if TYPE_CHECKING:
    from collections.abc import Generator

    from romancy.hooks import Body

ORDERS_IN_A_RUN = 3
shift: ContextVar[str] = ContextVar("shift", default="nobody")


class Money:
    """A class that has no form to be stored in, until `register_type` gives it one."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)

    def __str__(self) -> str:
        return f"{self.cents / 100:.2f}"


def cents_of(money: Money) -> int:
    return money.cents


register_type(Money, encode=cents_of, decode=Money)


@dataclass
class Ticket:
    guest: str
    dishes: list[str]


@dataclass
class Books:
    served: list[str] = field(default_factory=list[str])


Order = RequestType("kitchen.order", Ticket, Money)
Close = EventType("kitchen.close", None)


@entity("till")
@dataclass
class Till:
    cents: int = 0

    async def take(self, amount: Money) -> Money:
        self.cents += amount.cents
        return Money(self.cents)


class ColdOvenError(Exception):
    """The poll goes on: nothing is wrong."""


@activity(retry=RetryPolicy(0, 0.02, 1, 0.02, expected=ColdOvenError, record="last"))
async def oven_is_hot(guest: str) -> None:
    if activity_context().attempt < 4:
        raise ColdOvenError(f"not hot enough for {guest}")


@activity
async def cook(guest: str, dish: str) -> Money:
    if dish == "soup":
        raise TerminalError("the soup is sold out")
    print(f"cook {dish} for {guest}, {shift.get()}", flush=True)
    return Money(100 * len(dish))


@compensation
async def call_back(courier: str, guest: str) -> None:
    print(f"call {courier} back", flush=True)


@activity(compensation=call_back)
async def send(courier: str, guest: str) -> str:
    print(f"{courier} goes to {guest}", flush=True)
    return courier


@workflow
async def delivery(ctx: WorkflowContext, guest: str) -> str:
    """Go on when the kitchen is closed: it is nobody's child."""
    return await ctx.first(send("Ann", guest), send("Bob", guest))


@workflow
async def kitchen(ctx: WorkflowContext, books: Books) -> Books:
    closing, served, one_at_a_time = False, 0, asyncio.Lock()

    async def order(ticket: Ticket) -> Money:
        nonlocal served
        async with one_at_a_time:
            await oven_is_hot(ticket.guest)
            cooked = await ctx.map(lambda dish: cook(ticket.guest, dish), ticket.dishes, at_once=2, may_fail=1)
        price = Money(sum(each.cents for each in cooked))
        total = await ctx.entity(Till, "kitchen").take(price)
        await ctx.start(delivery.options(instance_id=f"delivery-{ticket.guest}", detached=True), ticket.guest)
        books.served.append(ticket.guest)
        served += 1
        ctx.log.info("%s has paid %s; the till has %s", ticket.guest, price, total)
        return price

    def can_be_cooked(ticket: Ticket) -> None:
        if not ticket.dishes:
            raise ValueError("an order has a dish")

    async def close() -> None:
        nonlocal closing
        closing = True

    async with ctx.handling(Order.by(order, validate=can_be_cooked), Close.by(close)):
        await ctx.until(lambda: closing or served >= ORDERS_IN_A_RUN or ctx.should_recur)
        await ctx.all_handled()
        if not closing:
            return kitchen.recur(books)
    return books


@workflow
async def guest(ctx: WorkflowContext, name: str, dishes: list[str]) -> Money:
    return await ctx.instance("kitchen").request(Order, Ticket(name, dishes), timeout=3600)


class Shift(Hook):
    """Sets a context variable around each body, which its activities see."""

    @contextmanager
    def around_body(self, body: Body, /) -> Generator[None]:
        shift.set(f"in the {body.workflow_name}")
        yield


async def serve(url: str, guests: int) -> list[str]:
    """Serve so many guests and close. Returns what was told to each, and what the till has."""
    async with Romancy(url, workflows=[kitchen, guest, delivery, Till], hooks=[Shift()]) as app:
        open_now = await app.start(kitchen.options(instance_id="kitchen"), Books())
        orders = {f"guest{number}": ["pasta", "salad"][: number % 2 + 1] for number in range(guests)}
        orders["hungry"] = []
        orders["late"] = ["soup", "soup", "bread"]
        asked = {name: await app.start(guest.options(instance_id=name), name, its) for name, its in orders.items()}
        told: list[str] = []
        for name, handle in asked.items():
            try:
                told.append(f"{name} pays {await handle.result()}")
            except WorkflowFailedError as error:
                told.append(f"{name}: {error.chain[-1].type}: {error.chain[-1].message}")
        await open_now.signal(Close, id="evening")
        books = await open_now.result()
        for name in books.served:
            await app.handle(f"delivery-{name}", delivery).result()
        till = await app.entity_handle(Till, "kitchen").state()
        return [*told, f"{len(books.served)} served, the till has {Money(till.cents if till else 0)}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", default="sqlite:///kitchen.db")
    parser.add_argument("--guests", type=int, default=8)
    said = parser.parse_args()
    logging.getLogger("romancy.workflow").setLevel(logging.INFO)
    print("\n".join(asyncio.run(serve(said.database, said.guests))))


if __name__ == "__main__":
    main()
