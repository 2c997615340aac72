"""The dashboard on a port of this machine, served in the process of the test."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.dashboard import Dashboard

__all__ = ["serving"]


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
