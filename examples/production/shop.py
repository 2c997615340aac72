"""A shop as it runs in production: one module for the web, the workers and the dashboard.

    ROMANCY_URL       the database
    DASHBOARD_GATE    the secret by which the dashboard knows its proxy
    DASHBOARD_ADMINS  who may act there, as in `ann,bob`; all others look

`romancy migrate` makes the tables before the processes begin. README.md says how each of them is started.
"""

from __future__ import annotations

import hmac
import os
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from romancy import (
    EventType,
    InstanceConflictError,
    Retention,
    Romancy,
    Status,
    UsageError,
    WorkflowContext,
    activity,
    compensation,
    dashboard,
    http,
    workflow,
)
from romancy.dashboard import Visitor
from romancy.ext.starlette import lifespan, opened_app

paid = EventType("paid", None)


@compensation
async def put_back(item: str) -> None:
    """Take the reservation back."""


@activity(compensation=put_back)
async def reserve(item: str) -> str:
    return f"shelf 7: {item}"


@activity
async def ship(place: str) -> str:
    return f"{place} is on its way"


@workflow
async def order(ctx: WorkflowContext, item: str) -> str:
    place = await reserve(item)
    await ctx.wait_event(paid, timeout=7 * 86_400)
    return await ship(place)


def shop(*, worker: bool) -> Romancy:
    """The app of one process. Only `romancy migrate` changes tables."""
    return Romancy(
        os.environ["ROMANCY_URL"],
        workflows=[order],
        worker=worker,
        migrate=False,
        retention=Retention(completed="30d", failed="90d", cancelled="90d"),
    )


# ── workers: `romancy run shop:app`, or `romancy serve shop:worker` where something asks whether they are well ──────

app = shop(worker=True)


def conditions(request: Request) -> None:
    """Of a worker, others may only ask for its condition."""
    if not request.url.path.startswith("/health/"):
        raise PermissionError("This process answers only for its condition.")


worker = http.asgi(app, auth=conditions)


# ── the web: `uvicorn shop:web` ─────────────────────────────────────────────────────────────────────────────────────

web = FastAPI(lifespan=lifespan(shop(worker=False)))
App = Annotated[Romancy, Depends(opened_app)]


@web.exception_handler(UsageError)
async def refused(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 409 if isinstance(error, InstanceConflictError) else 400)


@web.put("/orders/{order_id}", status_code=202)
async def place(order_id: str, item: str, app: App) -> dict[str, str]:
    await app.start(order.options(instance_id=order_id), item)
    return {"id": order_id}


@web.post("/orders/{order_id}/payment", status_code=202)
async def pay(order_id: str, app: App) -> None:
    await app.signal(order_id, paid, id="payment")


@web.get("/orders/{order_id}")
async def look(order_id: str, app: App) -> dict[str, Any]:
    if (found := await app.get_instance(order_id)) is None:
        raise HTTPException(404)
    done = found.status is Status.COMPLETED
    return {"status": found.status, "result": await app.handle(order_id).result() if done else None}


@web.get("/health/live")
async def live() -> None:
    """Tell that the process answers. It does not ask the database: a restart would not mend that."""


@web.get("/health/ready")
async def ready(app: App) -> None:
    """Ask the database, so that nobody is sent to a process that has lost it."""
    await app.get_instance("romancy-health")


# ── the dashboard: `uvicorn shop:board --timeout-graceful-shutdown 5`, behind nginx/shop.conf.template ─────────────


def staff(request: Request) -> Visitor:
    """Let in whom the proxy has asked for a password. The gate's secret tells the proxy from other programs."""
    gate, user = request.headers.get("x-gate", ""), request.headers.get("x-user", "")
    if not user or not hmac.compare_digest(gate.encode(), os.environ["DASHBOARD_GATE"].encode()):
        raise PermissionError("Come through the proxy.")
    return Visitor(user, actions=user in os.environ.get("DASHBOARD_ADMINS", "").split(","))


shown = shop(worker=False)
board = FastAPI(lifespan=lifespan(shown), openapi_url=None)
board.get("/health/live")(live)
board.get("/health/ready")(ready)
board.mount("/romancy", dashboard.asgi(shown, auth=staff))
