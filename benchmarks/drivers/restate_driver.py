"""Restate: its server from the npm registry, which this driver starts, and a service of its Python SDK beside it.

The server keeps its own log and tables in files, in the folder of the URL's SQLite file. Each call is a workflow under
an id of its own, sent to the server by HTTP, and answers with the workflow's result. A step is a `run_typed`.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Any

import httpx
import restate
from hypercorn.asyncio import serve as serve_asgi
from hypercorn.config import Config

from benchmarks.drivers.protocol import Driver, expected, serve, step_body

BUILT = Path(__file__).parent.parent.parent / "build" / "bench" / "restate_server" / "node_modules" / "@restatedev"
STARTING = 300
"""Attempts until the server answers."""
CALLERS = 500
"""The most callers that a scenario has at once."""

workflows = restate.Workflow("steps_in_turn")


async def step(number: int) -> int:
    return step_body(number)


@workflows.main()
async def run(ctx: restate.WorkflowContext, steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await ctx.run_typed("step", step, number=number)
    return total


class Restate(Driver):
    name = "restate"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._begun: dict[str, int] = {}
        (package,) = BUILT.glob("restate-server-*")
        self._version = json.loads((package / "package.json").read_text("utf-8"))["version"]
        self._server_path = package / "bin" / "restate-server"
        self._stop = asyncio.Event()

    def version(self) -> str:
        return f"{importlib.metadata.version('restate-sdk')}, server {self._version}"

    async def open(self) -> None:
        node, ingress, admin, here = _free_ports(4)
        folder = Path(self.url.removeprefix("sqlite:///")).parent / "restate"
        self._server = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
            [self._server_path, "--no-logo", "--base-dir", folder, "--bind-ip", "127.0.0.1", "--listen-mode", "tcp"],
            env={
                **os.environ,
                "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
                "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
                "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
                "RESTATE_DISABLE_TELEMETRY": "true",
            },
            stdout=2,
        )
        config = Config()
        config.bind = [f"127.0.0.1:{here}"]
        app: Any = restate.app([workflows])
        self._serving = asyncio.create_task(serve_asgi(app, config, shutdown_trigger=self._stop.wait))
        limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{ingress}", timeout=60, limits=limits)
        self._admin = httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin}", timeout=60)
        for _ in range(STARTING):
            try:
                answer = await self._admin.post("/deployments", json={"uri": f"http://127.0.0.1:{here}"})
                if answer.is_success:
                    break
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
        else:
            raise RuntimeError("the server of Restate does not answer")

    async def close(self) -> None:
        await self._client.aclose()
        await self._admin.aclose()
        self._stop.set()
        await self._serving
        self._server.terminate()
        self._server.wait(15)

    async def run(self, steps: int) -> bool:
        workflow_id = uuid.uuid4().hex
        self._begun[workflow_id] = steps
        answer = await self._client.post(f"/steps_in_turn/{workflow_id}/run", json=steps)
        return bool(answer.is_success and answer.json() == expected(steps))

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        asked = (
            "SELECT i.target_service_key, i.completion_result, count(j.id) AS done FROM sys_invocation i JOIN "
            "sys_journal j ON j.id = i.id WHERE j.name = 'step' GROUP BY 1, 2"
        )
        answer = await self._admin.post("/query", json={"query": asked}, headers={"accept": "application/json"})
        rows = {row["target_service_key"]: row for row in answer.raise_for_status().json()["rows"]}
        count = 0
        for workflow_id, steps in begun.items():
            row = rows.get(workflow_id)
            count += row is None or row["done"] != steps or row["completion_result"] != "success"
        return count


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    serve(Restate)
