"""uvicorn, without its signal handlers, and with a time limit for requests that do not come.

Every command that serves HTTP runs it with `serve_until_told`.
"""

from __future__ import annotations

import asyncio
import math
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from romancy.engine import ToldToStop

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Generator

    from starlette.types import ASGIApp

    from romancy.dashboard import Dashboard

__all__ = ["serve_dashboard", "serve_until_told", "server_of"]

_PATIENCE: Final = 30.0


def server_of(http: ASGIApp, grace: float, patience: float = _PATIENCE) -> uvicorn.Server:
    """A server that ends when its `should_exit` is set; requests have `grace` seconds then.

    A connection over which no request comes within `patience` seconds is closed. The head of a request may have 64 kB.
    """
    kind = type("Impatient", (_Impatient,), {"patience": patience})
    config = uvicorn.Config(
        http,
        http=kind,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(grace),
    )
    return _Server(config)


async def serve_until_told(
    http: ASGIApp,
    listener: socket.socket,
    grace: float,
    *,
    began: Callable[[], None],
    ending: Callable[[bool], Awaitable[None]],
) -> None:
    """Serve until SIGTERM or Ctrl-C, or until the server ends by itself. A second Ctrl-C ends the process at once.

    `began` is called when it listens. `ending` is awaited when it takes no new connections, before it waits for the
    open ones; it is told whether the server was told to stop.
    """
    server = server_of(http, grace)
    with ToldToStop() as told:
        serving = asyncio.create_task(server.serve([listener]))
        began()
        stopping = asyncio.create_task(told.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server.should_exit = True
    await ending(not serving.done())
    await serving


async def serve_dashboard(
    dashboard: Dashboard, listener: socket.socket, grace: float, *, began: Callable[[], None]
) -> None:
    """Open a dashboard, serve it until told to stop, and close it."""

    async def ending(_: bool) -> None:  # noqa: FBT001 - as it is called
        await dashboard.close()  # ends the streams of open pages, for which the server would wait

    await dashboard.open()
    await serve_until_told(dashboard, listener, grace, began=began, ending=ending)
    await dashboard.close()


class _Server(uvicorn.Server):
    """A server that leaves signals to its caller."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Impatient(H11Protocol):
    """One connection with a time limit. uvicorn waits forever for the first head, and for the rest of a head."""

    patience = _PATIENCE

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._over: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        """Wait for a request, unless one is being answered: the app limits the time for its body."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting()
        elif self._over is None:
            self._over = self.loop.call_later(self.patience, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._over is not None:
            self._over.cancel()
            self._over = None
