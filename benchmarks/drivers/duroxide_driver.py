"""Duroxide: orchestrations as generators on its Rust runtime, with the library's defaults.

Its calls block, so each caller has a thread. Activities are plain functions. On SQLite it commits with
`synchronous=NORMAL`, which flushes at checkpoints alone: a power cut may take back what was acknowledged. Steps get
slower as their history grows: of 10,000 steps in one workflow, 3,475 had run after ten minutes, and `growth` gives up.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc, no-untyped-call"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import importlib.metadata
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from duroxide import Client, PostgresProvider, Runtime, SqliteProvider

from benchmarks.drivers.protocol import Driver, expected, serve, step_body

THREADS = 500
"""The most callers that a scenario has at once."""
PATIENCE = 60_000
"""Milliseconds that a caller waits for a result."""


class Duroxide(Driver):
    name = "duroxide"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._begun: dict[str, int] = {}
        self._threads = ThreadPoolExecutor(THREADS)
        if url.startswith("sqlite"):
            provider = SqliteProvider.open(url.removeprefix("sqlite:///"))
        else:
            provider = PostgresProvider.connect(url)
        self._client = Client(provider)
        self._runtime = Runtime(provider)
        self._runtime.register_activity("step")(_step)
        self._runtime.register_orchestration("steps_in_turn")(_steps_in_turn)

    def version(self) -> str:
        return importlib.metadata.version("duroxide")

    async def open(self) -> None:
        self._runtime.start()

    async def close(self) -> None:
        self._runtime.shutdown()
        self._threads.shutdown()

    async def run(self, steps: int) -> bool:
        instance_id = str(uuid.uuid4())
        self._begun[instance_id] = steps
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ran, instance_id, steps)

    def _ran(self, instance_id: str, steps: int) -> bool:
        self._client.start_orchestration(instance_id, "steps_in_turn", steps)
        return bool(self._client.wait_for_orchestration(instance_id, PATIENCE).output == expected(steps))

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        count = 0
        for instance_id, steps in begun.items():
            (execution,) = self._client.list_executions(instance_id)
            kinds = [event.kind for event in self._client.read_execution_history(instance_id, execution)]
            count += kinds.count("ActivityCompleted") != steps or "OrchestrationCompleted" not in kinds
        return count


def _step(_: Any, number: int) -> int:
    return step_body(number)


def _steps_in_turn(ctx: Any, steps: int) -> Any:
    total = 0
    for number in range(steps):
        total += yield ctx.schedule_activity("step", number)
    return total


if __name__ == "__main__":
    serve(Duroxide)
