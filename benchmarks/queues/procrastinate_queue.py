"""procrastinate: `App.run_worker_async`, with as many jobs at once as a limit has places; its default is one.

A job has no result. The limit is a lock: one job at a time for each key. The library has no other.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any

from procrastinate import App, PsycopgConnector

from benchmarks.drivers.protocol import serve
from benchmarks.queues.jobs import FREE, KEYED, PLACES, key_of, ran
from benchmarks.queues.queue_driver import QueueDriver, queue_url

if TYPE_CHECKING:
    from collections.abc import Sequence

app = App(connector=PsycopgConnector(conninfo=queue_url()))


@app.task(name="job")
async def job(number: int) -> None:
    ran(number)


async def work() -> None:
    """Be the worker. The command line would log each job."""
    async with app.open_async():
        await app.run_worker_async(concurrency=PLACES)


class ProcrastinateQueue(QueueDriver):
    name = "procrastinate"
    kinds = (FREE, KEYED)
    in_bulk = True

    def version(self) -> str:
        return importlib.metadata.version("procrastinate")

    def worker(self) -> Sequence[str]:
        begin = "import asyncio; from benchmarks.queues.procrastinate_queue import work; asyncio.run(work())"
        return [sys.executable, "-c", begin]

    async def connect(self) -> None:
        await app.open_async()
        await app.schema_manager.apply_schema_async()

    async def disconnect(self) -> None:
        await app.close_async()

    async def enqueue(self, number: int, kind: str) -> Any:
        if kind == KEYED:
            return await job.configure(lock=key_of(number)).defer_async(number=number)
        return await job.defer_async(number=number)

    async def enqueue_many(self, numbers: Sequence[int], kind: str) -> None:
        await job.batch_defer_async(*[{"number": number} for number in numbers])


if __name__ == "__main__":
    # its app must not be one of the main module
    serve(importlib.import_module("benchmarks.queues.procrastinate_queue").ProcrastinateQueue)
