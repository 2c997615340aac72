"""Orders on the web with Litestar and SQLAlchemy: the order's row and its workflow are one commit.

    export ROMANCY_URL=sqlite:///orders.db DATABASE_URL=sqlite+aiosqlite:///orders.db
    uvicorn examples.litestar_orders:api
    curl -X PUT 'localhost:8000/orders/a-1?item=lamp'
    curl -X POST localhost:8000/orders/a-1/payment
    curl localhost:8000/orders/a-1

It needs `pip install 'romancy[sqlalchemy]' aiosqlite litestar uvicorn`. Kill the server at any moment and start it
again: each order has its row and its workflow, or neither, and is shipped once. A client may repeat every request:
it gets the same answer. Another item under the same id is a conflict (409).
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar import Litestar, Request, Response, get, post, put
from litestar.di import NamedDependency, Provide
from litestar.exceptions import ClientException
from litestar.params import FromPath, FromQuery  # noqa: TC002 - Litestar reads the annotations
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from romancy import EventType, Romancy, UsageError, WorkflowContext, activity, activity_context, workflow
from romancy.errors import InstanceConflictError

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


App = NamedDependency[Romancy]
durable = Romancy(os.environ.get("ROMANCY_URL", "sqlite:///orders.db"), workflows=[fulfil])


@asynccontextmanager
async def opened(api: Litestar) -> AsyncGenerator[None]:
    async with engine.begin() as connection:
        await connection.exec_driver_sql(ONE_AT_A_TIME[connection.dialect.name])
        await connection.run_sync(Base.metadata.create_all)
    async with durable:
        yield
    await engine.dispose()


def the_app() -> Romancy:
    return durable


def refused(request: Request[Any, Any, Any], error: UsageError) -> Response[dict[str, str]]:
    """Another item under this id, or a payment without an order: nothing was written."""
    return Response({"error": str(error)}, status_code=409 if isinstance(error, InstanceConflictError) else 400)


@put("/orders/{order_id:str}", status_code=202)
async def place(order_id: FromPath[str], item: FromQuery[str], app: App) -> dict[str, str]:
    if not order_id.replace("-", "").isalnum():
        raise ClientException("an order's id has letters, digits and hyphens", status_code=422)
    async with AsyncSession(engine) as session, session.begin():
        # First the workflow: it is there once, and refuses another item. Then the row, which may be there.
        await app.start(fulfil.options(instance_id=order_id), order_id, item, session=session)
        await session.merge(Order(id=order_id, item=item))
    return {"id": order_id}


@post("/orders/{order_id:str}/payment", status_code=202)
async def pay(order_id: FromPath[str], app: App) -> dict[str, str]:
    async with AsyncSession(engine) as session, session.begin():
        await app.signal(order_id, paid, id="payment", session=session)
    return {}


@get("/orders/{order_id:str}")
async def look(order_id: FromPath[str], app: App) -> dict[str, Any]:
    found = await app.get_instance(order_id)
    async with AsyncSession(engine) as session:
        return {
            "ordered": await session.get(Order, order_id) is not None,
            "status": None if found is None else found.status,
            "shipped": await session.get(Shipment, order_id) is not None,
        }


api = Litestar(
    [place, pay, look],
    lifespan=[opened],
    dependencies={"app": Provide(the_app, sync_to_thread=False)},
    exception_handlers={UsageError: refused},
)
