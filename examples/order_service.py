"""A shop on the web: FastAPI takes orders, and each order is committed together with the workflow that carries it out.

    export DATABASE_URL=postgresql://me@localhost/shop
    uvicorn examples.order_service:api
    curl -X PUT localhost:8000/orders/a-1 -H 'content-type: application/json' \
         -d '{"item": "lamp", "count": 2, "cents": 4900, "address": "Main Street 1"}'
    curl localhost:8000/orders/a-1

It needs `pip install 'romancy[postgres]' fastapi uvicorn`. A new shop has ten lamps. An order to the address `nowhere`
is refused by the carrier: the payment is refunded and the lamps go back to the shelf. Kill the server at any moment and
start it again: each order is paid once, shipped once, and has its row and its workflow, or neither.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from romancy import Depends, Romancy, TerminalError, WorkflowContext, activity, activity_context, workflow
from romancy.errors import InstanceConflictError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

DATABASE = os.environ.get("DATABASE_URL", "postgresql://localhost/shop")

TABLES = """
create table if not exists orders (id text primary key, item text, count int, cents int, address text);
create table if not exists stock (item text primary key, available int not null check (available >= 0));
create table if not exists shipments (order_id text primary key, address text not null);
create table if not exists bank (key text primary key, order_id text not null, cents int not null);
insert into stock values ('lamp', 10) on conflict do nothing;
"""


@dataclass
class Order:
    item: str
    count: int
    cents: int
    address: str


class Bank:
    """Stands for a bank outside, which books each idempotency key once. Its table is no part of the shop's commits."""

    def __init__(self, pool: asyncpg.Pool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds

    async def book(self, key: str, order_id: str, cents: int) -> None:
        sql = "insert into bank values ($1, $2, $3) on conflict (key) do nothing"
        await self._pool.execute(sql, key, order_id, cents)
        await asyncio.sleep(self._seconds)  # the answer takes time; the process may be gone when it arrives


async def bank() -> AsyncIterator[Bank]:
    async with asyncpg.create_pool(DATABASE, min_size=1, max_size=4) as pool:
        yield Bank(pool, float(os.environ.get("BANK_SECONDS", "0")))


# --- the workflow: three steps, and what undoes them -------------------------------------------------------------


@activity
async def reserve(item: str, count: int) -> None:
    """The shop's own table, in the activity's session: it commits with the completion, so it happens exactly once."""
    session = await activity_context().session()
    sql = "update stock set available = available - $2 where item = $1 and available >= $2"
    if await session.execute(sql, item, count) == 0:
        raise TerminalError(f"there are no {count} of {item}")


@reserve.compensation
async def put_back(item: str, count: int) -> None:
    session = await activity_context().session()
    await session.execute("update stock set available = available + $2 where item = $1", item, count)


@activity
async def charge(order_id: str, cents: int, *, at: Bank = Depends(bank)) -> None:
    """The bank is outside: after a crash the activity asks it again, and the bank recognises the key."""
    await at.book(activity_context().idempotency_key, order_id, cents)


@charge.compensation
async def refund(order_id: str, cents: int, *, at: Bank = Depends(bank)) -> None:
    await at.book(activity_context().idempotency_key, order_id, -cents)


@activity
async def ship(order_id: str, address: str) -> None:
    if address == "nowhere":
        raise TerminalError(f"the carrier does not know {address!r}")
    session = await activity_context().session()
    await session.execute("insert into shipments values ($1, $2)", order_id, address)


@workflow
async def fulfil(ctx: WorkflowContext, order: Order) -> str:
    await reserve(order.item, order.count)
    await ctx.report("reserved")
    await charge(ctx.instance_id, order.cents)
    await ctx.report("paid")
    await ship(ctx.instance_id, order.address)
    await ctx.report("shipped")
    return f"{order.count} × {order.item} to {order.address}"


# --- the web -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncGenerator[None]:
    """Open the pool and the app once for each server process. The process is a worker, too."""
    async with asyncpg.create_pool(DATABASE, min_size=1, max_size=4) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(1)")  # several processes may start at once
            await connection.execute(TABLES)
        async with Romancy(DATABASE, workflows=[fulfil]) as app:
            api.state.pool, api.state.app = pool, app
            yield


api = FastAPI(lifespan=lifespan)


@api.put("/orders/{order_id}", status_code=202)
async def place(order_id: str, order: Order, request: Request) -> dict[str, str]:
    """Row and workflow are one commit. A client that repeats the request, after a time-out say, gets the same order."""
    if order.count < 1 or order.cents < 0:
        raise HTTPException(422, "an order has a count of at least 1 and no negative price")
    pool: asyncpg.Pool = request.app.state.pool
    app: Romancy = request.app.state.app
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "insert into orders values ($1, $2, $3, $4, $5) on conflict (id) do nothing",
            order_id,
            order.item,
            order.count,
            order.cents,
            order.address,
        )
        await app.start(fulfil.options(instance_id=order_id), order, session=connection)
    return {"id": order_id}


@api.get("/orders/{order_id}")
async def look(order_id: str, request: Request) -> dict[str, Any]:
    app: Romancy = request.app.state.app
    found = await app.get_instance(order_id)
    if found is None:
        raise HTTPException(404, "there is no such order")
    return {"status": found.status, "progress": await app.report(order_id), "error": found.error}


@api.exception_handler(UsageError)
async def refused(request: Request, error: Exception) -> JSONResponse:
    """Another order has this id, or the id is invalid: the transaction of `place` was rolled back."""
    return JSONResponse({"error": str(error)}, 409 if isinstance(error, InstanceConflictError) else 400)
