"""The dashboard and HTTP under several `auth=`, mounted in one application and served on a port of this machine."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from romancy import EventTimeoutError, Romancy, WorkflowContext, dashboard, http, workflow
from romancy.dashboard._auth import OneTimeToken
from romancy_conformance.servers.web_proxies import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request
    from starlette.types import ASGIApp

__all__ = ["KEY", "SECRET", "Served", "serving"]

KEY: Final = "x-key"
"""The header by which the owner is known where `auth=` is a function."""
SECRET: Final = "open-sesame-open-sesame"


@workflow(name="proxied_order")
async def order(ctx: WorkflowContext) -> None:
    try:
        await ctx.wait_event("paid", timeout=3600)
    except EventTimeoutError:
        return


def owner(request: Request) -> str:
    if request.headers.get(KEY) != SECRET:
        raise PermissionError("Only the owner may look.")
    return "owner"


class Served:
    """What is served, and where: each application by the name of its `auth=`."""

    def __init__(self, app: Romancy, upstream: Upstream, token: OneTimeToken) -> None:
        self.app = app
        self.upstream = upstream
        self.token = token


@asynccontextmanager
async def serving(host: str = "127.0.0.1") -> AsyncGenerator[Served]:
    """Serve an app with one waiting workflow, `o-1`, during the block."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    async with Romancy("memory://", workflows=[order]) as app:
        await app.start(order.options(instance_id="o-1"))
        token = OneTimeToken()
        mounted: dict[str, ASGIApp] = {
            "/local/dashboard": dashboard.asgi(app, auth="local"),
            "/local/http": http.asgi(app, auth="local"),
            "/hook/dashboard": dashboard.asgi(app, auth=owner),
            "/hook/http": http.asgi(app, auth=owner),
            "/ui": dashboard.asgi(app, auth=token),
        }
        web = Starlette(routes=[Mount(path, each) for path, each in mounted.items()])
        with socket.create_server((host, 0), family=family) as place:
            server = uvicorn.Server(uvicorn.Config(web, log_level="warning", timeout_graceful_shutdown=1))
            serves = asyncio.create_task(server.serve(sockets=[place]))
            try:
                yield Served(app, Upstream(place.getsockname()[1], host), token)
            finally:
                server.should_exit = True
                await serves
