"""pgqueuer: `PgQueuer.run` with its defaults, on uvloop, as `pgq run` runs it.

That command itself fails with the newest typer that pgqueuer allows. A job has no result. Its limit is one of an entry
point, over all workers.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any

import asyncpg
from pgqueuer import PgQueuer, Queries
from pgqueuer.models import Job  # noqa: TC002 - pgqueuer reads the annotations

from benchmarks.drivers.protocol import serve
from benchmarks.queues.jobs import FREE, NARROW, PLACES, ran
from benchmarks.queues.queue_driver import QueueDriver, queue_url

if TYPE_CHECKING:
    from collections.abc import Sequence


async def work() -> None:
    """Be the worker."""
    queue = PgQueuer.from_asyncpg_connection(await asyncpg.connect(queue_url()))

    @queue.entrypoint(FREE)
    async def free(job: Job) -> None:
        ran(int(job.payload or b""))

    @queue.entrypoint(NARROW, concurrency_limit=PLACES)
    async def narrow(job: Job) -> None:
        ran(int(job.payload or b""))

    await queue.run()


class PgqueuerQueue(QueueDriver):
    name = "pgqueuer"
    kinds = (FREE, NARROW)
    in_bulk = True

    def version(self) -> str:
        return importlib.metadata.version("pgqueuer")

    def worker(self) -> Sequence[str]:
        return [
            sys.executable,
            "-c",
            "import uvloop; from benchmarks.queues.pgqueuer_queue import work; uvloop.run(work())",
        ]

    async def connect(self) -> None:
        self._pool: Any = await asyncpg.create_pool(self.url)
        self._queries = Queries.from_asyncpg_pool(self._pool)
        await self._queries.install()

    async def disconnect(self) -> None:
        async with asyncio.timeout(5):
            await self._pool.close()

    async def enqueue(self, number: int, kind: str) -> Any:
        return await self._queries.enqueue(kind, str(number).encode())

    async def enqueue_many(self, numbers: Sequence[int], kind: str) -> None:
        payloads = [str(number).encode() for number in numbers]
        await self._queries.enqueue([kind] * len(payloads), payloads, [0] * len(payloads))


if __name__ == "__main__":
    serve(PgqueuerQueue)
