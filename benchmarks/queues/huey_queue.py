"""huey on SQLite, PostgreSQL or Redis: `huey_consumer` with a thread for each core.

Its default is one thread, which its documentation advises to raise. A job is taken from the queue before it runs, so a
killed worker loses what it runs. It has locks that refuse a job instead of letting it wait, so no kind with a limit.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huey import PostgresHuey, RedisHuey, SqliteHuey

from benchmarks.drivers.protocol import serve
from benchmarks.queues.jobs import ran
from benchmarks.queues.queue_driver import QueueDriver, queue_url

if TYPE_CHECKING:
    from collections.abc import Sequence


def _made(url: str) -> Any:
    if url.startswith("redis"):
        return RedisHuey("bench", url=url, notify_result=True)
    if url.startswith("postgresql"):
        return PostgresHuey("bench", dsn=url)
    return SqliteHuey("bench", filename=url.removeprefix("sqlite:///"), fsync=True)


huey = _made(queue_url())


@huey.task()
def job(number: int) -> int:
    return ran(number)


class HueyQueue(QueueDriver):
    name = "huey"
    blocks = True
    results = True

    def version(self) -> str:
        return importlib.metadata.version("huey")

    def worker(self) -> Sequence[str]:
        consumer = Path(sys.executable).parent / "huey_consumer"
        return [str(consumer), "benchmarks.queues.huey_queue.huey", "-q", "-w", str(os.cpu_count() or 1)]

    async def enqueue(self, number: int, kind: str) -> Any:
        return job(number)

    async def result(self, handle: Any) -> int:
        result: int = handle.get(blocking=True, timeout=60)
        return result


if __name__ == "__main__":
    # huey names a task by its module
    serve(importlib.import_module("benchmarks.queues.huey_queue").HueyQueue)
