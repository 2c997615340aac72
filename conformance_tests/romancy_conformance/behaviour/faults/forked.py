"""A worker process that is forked from one which has imported all that it needs: a thousand of them are cheap."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from multiprocessing.connection import Connection

__all__ = ["Forked"]

_ADAPTERS: Final = ("romancy_sqlite", "romancy_postgres._store", "romancy_mysql._store")
"""What is not installed here is passed over."""
_PATIENCE: Final = 60.0


class Forked:
    """The process. It runs `work` with these arguments, which sends something by the connection once it works."""

    def __init__(self, work: Callable[[str, int, float, Connection], None], url: str, port: int, lease: float) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([work.__module__, *_ADAPTERS])  # only the first call matters
        self._told, tells = context.Pipe(duplex=False)
        self._process = context.Process(target=work, args=(url, port, lease, tells), daemon=True)
        self._process.start()
        tells.close()

    async def ready(self) -> Forked:
        """Wait until it works."""
        assert await asyncio.to_thread(self._told.poll, _PATIENCE)
        assert self._told.recv_bytes() == b"ready"
        return self

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def send(self, signal_number: signal.Signals) -> None:
        os.kill(self.pid, signal_number)

    def kill(self) -> None:
        """End it if it still runs, even when frozen."""
        self._process.kill()
        self._process.join()
        self._told.close()
