"""Romancy as a queue: workflows of one activity, enqueued by an app without a worker, and `romancy run` beside it."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from benchmarks.drivers.protocol import serve
from benchmarks.queues.jobs import FREE, KEYED, NARROW, PLACES, key_of, ran
from benchmarks.queues.queue_driver import INSIDE, QueueDriver, queue_url
from romancy import Limit, Romancy, WorkflowContext, activity, workflow

if TYPE_CHECKING:
    from collections.abc import Sequence


@activity
async def job(number: int) -> int:
    return ran(number)


@workflow
async def free(ctx: WorkflowContext, number: int, key: str) -> int:
    return await job(number)


@workflow(limits=[Limit("narrow", concurrency=PLACES)])
async def narrow(ctx: WorkflowContext, number: int, key: str) -> int:
    return await job(number)


@workflow(limits=[Limit("keyed", key="key", concurrency=1)])
async def keyed(ctx: WorkflowContext, number: int, key: str) -> int:
    return await job(number)


FLOWS: Final[dict[str, Any]] = {FREE: free, NARROW: narrow, KEYED: keyed}


app = Romancy(queue_url() or "memory://", workflows=[free, narrow, keyed], worker=INSIDE in os.environ)
"""The starter's, and that of `romancy run`, which works all the same."""


class RomancyQueue(QueueDriver):
    name = "romancy"
    kinds = (FREE, NARROW, KEYED)
    in_bulk = True
    results = True
    inside = True

    def version(self) -> str:
        return importlib.metadata.version("romancy")

    def worker(self) -> Sequence[str]:
        return [sys.executable, "-m", "romancy", "run", "--quiet", "benchmarks.queues.romancy_queue:app"]

    async def connect(self) -> None:
        await app.__aenter__()

    async def disconnect(self) -> None:
        await app.__aexit__(None, None, None)

    async def enqueue(self, number: int, kind: str) -> Any:
        return await app.start(FLOWS[kind], number, key_of(number))

    async def enqueue_many(self, numbers: Sequence[int], kind: str) -> None:
        await app.start_many([FLOWS[kind].bind(number, key_of(number)) for number in numbers])

    async def result(self, handle: Any) -> int:
        result: int = await handle.result()
        return result


if __name__ == "__main__":
    serve(RomancyQueue)
