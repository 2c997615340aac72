"""procrastinate, for queues: jobs without steps, which one process defers and runs.

It has no steps and no results, so it takes part only in scenarios that start and run jobs. A job that the library marks
as succeeded counts as right.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import importlib.metadata
from typing import TYPE_CHECKING

from procrastinate import App, PsycopgConnector

from benchmarks.drivers.protocol import Clock, Driver, serve, sliding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Procrastinate(Driver):
    name = "procrastinate"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._app = App(connector=PsycopgConnector(conninfo=url))
        self._jobs = 0
        self._done = asyncio.Event()

        async def job() -> None:
            self._jobs -= 1
            if self._jobs == 0:
                self._done.set()

        self._task = self._app.task(queue="bench", name="job")(job)

    def version(self) -> str:
        return importlib.metadata.version("procrastinate")

    async def open(self) -> None:
        await self._app.open_async()
        await self._app.schema_manager.apply_schema_async()

    async def close(self) -> None:
        await self._app.close_async()

    async def warm_up(self, seconds: float = 1.0) -> dict[str, object]:
        await self.starts(100, 10)
        return await self.jobs(100, 10)

    async def _defer(self) -> bool:
        await self._task.defer_async()
        return True

    async def starts(self, workflows: int, at_once: int) -> dict[str, object]:
        """Defer jobs while nothing runs them."""
        with Clock() as clock:
            took, failed = await sliding(workflows, at_once, self._defer)
        self._jobs += workflows
        return clock.said(count=workflows, wrong=failed, took=took)

    async def jobs(self, workflows: int, at_once: int) -> dict[str, object]:
        """Run the deferred jobs, and as many more."""
        await self.starts(workflows, at_once)
        count = self._jobs
        self._done.clear()
        with Clock() as clock:
            working = asyncio.create_task(
                self._app.run_worker_async(concurrency=at_once, install_signal_handlers=False)
            )
            await self._done.wait()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        jobs = await self._app.job_manager.list_jobs_async()
        return clock.said(count=count, wrong=sum(job.status != "succeeded" for job in jobs))

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        return {"warm_up": self.warm_up, "starts": self.starts, "jobs": self.jobs}


if __name__ == "__main__":
    serve(Procrastinate)
