"""The development server of Temporal as a process of a driver."""

# The library is installed in the environment of its drivers alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Served"]

SERVER = Path(__file__).parent.parent.parent / "build" / "bench" / "temporal_server"
STARTING = 100
"""Attempts until all services of the server answer."""


class Served:
    """The server and a worker of one driver."""

    client: Client
    version: str

    async def serve(self, url: str, *, plugins: Sequence[Any] = (), **worked: Any) -> None:
        """Start both. `worked`: what the worker runs."""
        self._server, said = _started(url)
        self.version = said["version"]
        self.client = await _connected(said["address"], plugins=plugins)
        self._worker = Worker(self.client, **worked)
        self._working = asyncio.create_task(self._worker.run())

    async def end(self) -> None:
        """End both."""
        await self._worker.shutdown()
        await self._working
        self._server.terminate()
        self._server.wait(15)


def _started(url: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """The server with its data in the SQLite file of the URL, and what it said: its `version` and its `address`."""
    command = [str(SERVER), "-db", "sqlite", "-file", url.removeprefix("sqlite:///")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said: dict[str, Any] = json.loads(server.stdout.readline())
    return server, said


async def _connected(address: str, **options: Any) -> Client:
    """A client of the server, once all services of this answer."""
    client = await Client.connect(address, **options)
    for _ in range(STARTING):
        try:
            await client.count_workflows()
            break
        except RPCError:
            await asyncio.sleep(0.2)
    return client
