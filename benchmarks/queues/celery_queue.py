"""Celery with Redis as broker and for results: `celery worker` with a process for each core, its default.

A job is acknowledged after it has run (`task_acks_late`), so that a killed worker loses none; by default Celery
acknowledges before. Results are stored where somebody waits for them. Its workers limit rates only, each for itself,
so there is no kind of job with a limit.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any

from celery import Celery

from benchmarks.drivers.protocol import serve
from benchmarks.queues.jobs import ran
from benchmarks.queues.queue_driver import QueueDriver, queue_url

if TYPE_CHECKING:
    from collections.abc import Sequence

app = Celery("bench", broker=queue_url(), backend=queue_url())
app.conf.task_acks_late = True


@app.task(name="job")
def job(number: int) -> int:
    return ran(number)


class CeleryQueue(QueueDriver):
    name = "celery"
    blocks = True
    results = True

    def version(self) -> str:
        return importlib.metadata.version("celery")

    def worker(self) -> Sequence[str]:
        return [sys.executable, "-m", "celery", "-A", "benchmarks.queues.celery_queue", "worker"]

    async def enqueue(self, number: int, kind: str) -> Any:
        return job.apply_async((number,), ignore_result=True)

    async def enqueue_for_result(self, number: int) -> Any:
        return job.delay(number)

    async def result(self, handle: Any) -> int:
        result: int = handle.get(timeout=60)
        return result


if __name__ == "__main__":
    serve(CeleryQueue)
