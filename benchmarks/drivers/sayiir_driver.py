"""Sayiir: flows of tasks on PostgreSQL, with the library's defaults; it has no SQLite.

A flow is a fixed chain of tasks, each of which gets the result of the one before. So a flow of as many tasks as the
workflow has steps carries the sum along. Its calls block, so each caller has a thread.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sayiir import Flow, PostgresBackend, run_durable_workflow, task

from benchmarks.drivers.protocol import Driver, expected, serve, step_body

THREADS = 500
"""The most callers that a scenario has at once."""


@task
def step(carried: list[int]) -> list[int]:
    number, total = carried
    return [number + 1, total + step_body(number)]


@functools.cache
def steps_in_turn(steps: int) -> Any:
    """Return the flow of so many steps."""
    flow = Flow(f"steps_in_turn_{steps}")
    for number in range(steps):
        flow.then(step, name=f"step_{number}")
    return flow.build()


class Sayiir(Driver):
    name = "sayiir"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._threads = ThreadPoolExecutor(THREADS)
        self._wrong = 0

    def version(self) -> str:
        return importlib.metadata.version("sayiir")

    async def open(self) -> None:
        self._backend = PostgresBackend(self.url)

    async def close(self) -> None:
        self._threads.shutdown()

    async def run(self, steps: int) -> bool:
        flow = steps_in_turn(steps)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ran, flow, steps)

    def _ran(self, flow: Any, steps: int) -> bool:
        status = run_durable_workflow(flow, str(uuid.uuid4()), [0, 0], backend=self._backend)
        return bool(status.is_completed() and status.output == [steps, expected(steps)])

    async def wrong(self) -> int:
        return 0  # the flow's output says how many steps it has taken


if __name__ == "__main__":
    serve(Sayiir)
