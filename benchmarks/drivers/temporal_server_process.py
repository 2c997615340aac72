"""The development server of Temporal as a process of a driver."""

# The library is installed in the environment of its drivers alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

__all__ = ["connected", "started"]

SERVER = Path(__file__).parent.parent.parent / "build" / "bench" / "temporal_server"
STARTING = 100
"""Attempts until all services of the server answer."""


def started(url: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """The server with its data in the SQLite file of the URL, and what it said: its `version` and its `address`."""
    command = [str(SERVER), "-db", "sqlite", "-file", url.removeprefix("sqlite:///")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said: dict[str, Any] = json.loads(server.stdout.readline())
    return server, said


async def connected(address: str, **options: Any) -> Client:
    """A client of the server, once all services of this answer."""
    client = await Client.connect(address, **options)
    for _ in range(STARTING):
        try:
            await client.count_workflows()
            break
        except RPCError:
            await asyncio.sleep(0.2)
    return client
