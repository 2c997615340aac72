"""Orders on the web with Flask and SQLAlchemy: the order's row and its workflow are one commit.

    export ROMANCY_URL=sqlite:///orders.db DATABASE_URL=sqlite:///orders.db
    gunicorn --workers 2 --threads 4 'examples.flask_orders:create()'
    curl -X PUT 'localhost:8000/orders/a-1?item=lamp'
    curl -X POST localhost:8000/orders/a-1/payment
    curl localhost:8000/orders/a-1

It needs `pip install 'romancy[sqlalchemy]' flask gunicorn`. Kill the server at any moment and start it again: each
order has its row and its workflow, or neither, and is shipped once. A client may repeat every request: it gets the same
answer. Another item under the same id is a conflict (409).
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, current_app, request
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from romancy import EventType, UsageError, WorkflowContext, activity, activity_context, workflow
from romancy.errors import InstanceConflictError
from romancy.sync import SyncRomancy

engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///orders.db"))
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


def durable() -> SyncRomancy:
    app = current_app.extensions["romancy"]
    assert isinstance(app, SyncRomancy)
    return app


def place(order_id: str) -> Any:
    if not order_id.replace("-", "").isalnum():
        return {"error": "an order's id has letters, digits and hyphens"}, 422
    item = request.args["item"]
    with Session(engine) as session, session.begin():
        # First the workflow: it is there once, and refuses another item. Then the row, which may be there.
        durable().start(fulfil.options(instance_id=order_id), order_id, item, session=session)
        session.merge(Order(id=order_id, item=item))
    return {"id": order_id}, 202


def pay(order_id: str) -> Any:
    with Session(engine) as session, session.begin():
        durable().signal(order_id, paid, id="payment", session=session)
    return {}, 202


def look(order_id: str) -> Any:
    found = durable().get_instance(order_id)
    with Session(engine) as session:
        return {
            "ordered": session.get(Order, order_id) is not None,
            "status": None if found is None else found.status,
            "shipped": session.get(Shipment, order_id) is not None,
        }


def refused(error: Exception) -> Any:
    """Another item under this id, or a payment without an order: nothing was written."""
    return {"error": str(error)}, 409 if isinstance(error, InstanceConflictError) else 400


def create_tables() -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(ONE_AT_A_TIME[connection.dialect.name])
        Base.metadata.create_all(connection)


def create() -> Flask:
    """The web application of a process, which works on its workflows from now on, in a thread of its own."""
    create_tables()
    web = Flask(__name__)
    url = os.environ.get("ROMANCY_URL", "sqlite:///orders.db")
    web.extensions["romancy"] = SyncRomancy(url, workflows=[fulfil]).open()
    web.register_error_handler(UsageError, refused)
    web.put("/orders/<order_id>")(place)
    web.post("/orders/<order_id>/payment")(pay)
    web.get("/orders/<order_id>")(look)
    return web
