"""The dashboard on a port of this machine, served in the process of the test."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import uvicorn

from romancy.dashboard import asgi

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from romancy import Romancy
    from romancy.dashboard import Dashboard

__all__ = ["serving", "serving_beside"]


@asynccontextmanager
async def serving(dashboard: Dashboard) -> AsyncGenerator[int]:
    """Serve the dashboard during the block, and return its port."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        server = uvicorn.Server(uvicorn.Config(dashboard, log_level="warning", timeout_graceful_shutdown=1))
        serves = asyncio.create_task(server.serve(sockets=[place]))
        try:
            yield place.getsockname()[1]
        finally:
            server.should_exit = True
            await serves


@contextmanager
def serving_beside(app: Romancy, fill: Callable[[Romancy], Awaitable[None]]) -> Generator[int]:
    """Open the app, fill it and serve its dashboard, on a loop in another thread. Yields the port."""
    port: list[int] = []
    ready, over = threading.Event(), threading.Event()

    async def run() -> None:
        async with app, serving(asgi(app, auth="local")) as at:
            await fill(app)
            port.append(at)
            ready.set()
            await asyncio.to_thread(over.wait)

    served = threading.Thread(target=asyncio.run, args=(run(),))
    served.start()
    try:
        assert ready.wait(120)
        yield port[0]
    finally:
        over.set()
        served.join()
