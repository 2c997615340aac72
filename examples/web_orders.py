"""Orders on the web with FastAPI and SQLAlchemy: the order's row and its workflow are one commit.

    export ROMANCY_URL=sqlite:///orders.db DATABASE_URL=sqlite+aiosqlite:///orders.db
    uvicorn examples.web_orders:api
    curl -X PUT 'localhost:8000/orders/a-1?item=lamp'
    curl -X POST localhost:8000/orders/a-1/payment
    curl localhost:8000/orders/a-1

It needs `pip install 'romancy[sqlalchemy,http]' aiosqlite fastapi uvicorn`. Kill the server at any moment and start it
again: each order has its row and its workflow, or neither, and is shipped once. A client may repeat every request:
it gets the same answer. Another item under the same id is a conflict (409).
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from romancy import EventType, Romancy, UsageError, WorkflowContext, activity, activity_context, workflow
from romancy.errors import InstanceConflictError
from romancy.ext.starlette import lifespan, opened_app

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

engine = create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///orders.db"))
paid = EventType("paid", None)

ONE_AT_A_TIME = {"sqlite": "begin immediate", "postgresql": "select pg_advisory_xact_lock(1)"}
"""Several processes may begin at once: each waits here until the one before it has made the tables."""


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str]


class Shipment(Base):
    __tablename__ = "shipments"
    order_id: Mapped[str] = mapped_column(primary_key=True)


@activity
async def ship(order_id: str) -> None:
    session = await activity_context().session()
    await session.execute(f"insert into shipments values ('{order_id}')")  # noqa: S608 - the id was checked by `place`


@workflow
async def fulfil(ctx: WorkflowContext, order_id: str, item: str) -> str:
    await ctx.wait_event(paid)
    await ship(order_id)
    return f"{item} of order {order_id} is on its way"


@asynccontextmanager
async def tables(api: FastAPI) -> AsyncGenerator[None]:
    async with engine.begin() as connection:
        await connection.exec_driver_sql(ONE_AT_A_TIME[connection.dialect.name])
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


async def transaction() -> AsyncGenerator[AsyncSession]:
    async with AsyncSession(engine) as session, session.begin():
        yield session


App = Annotated[Romancy, Depends(opened_app)]
Transaction = Annotated[AsyncSession, Depends(transaction, scope="function")]
api = FastAPI(
    lifespan=lifespan(Romancy(os.environ.get("ROMANCY_URL", "sqlite:///orders.db"), workflows=[fulfil]), tables)
)


@api.exception_handler(UsageError)
async def refused(request: Request, error: Exception) -> JSONResponse:
    """Another item under this id, or a payment without an order: nothing was written."""
    return JSONResponse({"error": str(error)}, 409 if isinstance(error, InstanceConflictError) else 400)


@api.put("/orders/{order_id}", status_code=202)
async def place(order_id: str, item: str, app: App, session: Transaction) -> dict[str, str]:
    if not order_id.replace("-", "").isalnum():
        raise HTTPException(422, "an order's id has letters, digits and hyphens")
    # First the workflow: it is there once, and refuses another item. Then the row, which may be there.
    await app.start(fulfil.options(instance_id=order_id), order_id, item, session=session)
    await session.merge(Order(id=order_id, item=item))
    return {"id": order_id}


@api.post("/orders/{order_id}/payment", status_code=202)
async def pay(order_id: str, app: App, session: Transaction) -> None:
    await app.signal(order_id, paid, id="payment", session=session)


@api.get("/orders/{order_id}")
async def look(order_id: str, app: App, session: Transaction) -> dict[str, Any]:
    found = await app.get_instance(order_id)
    return {
        "ordered": await session.get(Order, order_id) is not None,
        "status": None if found is None else found.status,
        "shipped": await session.get(Shipment, order_id) is not None,
    }
