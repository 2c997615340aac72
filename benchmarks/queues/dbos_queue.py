"""DBOS queues: workflows of one step, enqueued by a `DBOSClient`, and a process that listens to the queues.

A queue is asked for jobs once a second, its default.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib.metadata
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks.drivers.protocol import serve
from benchmarks.queues.jobs import FREE, KEYED, NARROW, PLACES, key_of, ran
from benchmarks.queues.queue_driver import QueueDriver, queue_url

if TYPE_CHECKING:
    from collections.abc import Sequence


@DBOS.step()
async def job(number: int) -> int:
    return ran(number)


@DBOS.workflow(name="one_job")
async def one_job(number: int) -> int:
    result: int = await job(number)
    return result


def work() -> None:
    """Be the worker."""
    DBOS(config=DBOSConfig(name="romancy-bench", system_database_url=queue_url()))
    logging.getLogger("dbos").setLevel(logging.WARNING)
    DBOS.launch()
    DBOS.register_queue(FREE)
    DBOS.register_queue(NARROW, global_concurrency=PLACES)
    DBOS.register_queue(KEYED, partition_concurrency=1)
    signal.sigwait([signal.SIGTERM])
    DBOS.destroy()


class DbosQueue(QueueDriver):
    name = "dbos"
    kinds = (FREE, NARROW, KEYED)
    results = True

    def version(self) -> str:
        return importlib.metadata.version("dbos")

    def worker(self) -> Sequence[str]:
        return [sys.executable, "-c", "from benchmarks.queues.dbos_queue import work; work()"]

    async def connect(self) -> None:
        DBOS.migrate(self.url)
        self._client: Any = DBOSClient(system_database_url=self.url)

    async def disconnect(self) -> None:
        self._client.destroy()

    async def enqueue(self, number: int, kind: str) -> Any:
        options = {"workflow_name": "one_job", "queue_name": kind}
        if kind == KEYED:
            options["queue_partition_key"] = key_of(number)
        return await self._client.enqueue_async(options, number)

    async def result(self, handle: Any) -> int:
        result: int = await handle.get_result()
        return result


if __name__ == "__main__":
    serve(DbosQueue)
