"""Absurd: the asynchronous client and worker in one process, with the library's defaults.

Absurd is a queue with a worker. In `together` one client spawns tasks as fast as it can while the worker runs as many
of them at once as the task says. The worker returns when the last task has been recorded as complete, so nothing has to
poll for the end. From start to result (`latency`), the client waits as the library does, which polls.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import importlib.metadata
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from absurd_sdk import AsyncAbsurd
from absurdctl import BUNDLED_SCHEMA_SQL

from benchmarks.drivers.protocol import STEPS, Clock, Driver, expected, serve, sliding, step_body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

QUEUE = "default"


async def step(number: int) -> int:
    return step_body(number)


class Absurd(Driver):
    name = "absurd"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._client = AsyncAbsurd(url, queue_name=QUEUE)
        self._worker = AsyncAbsurd(url, queue_name=QUEUE)
        self._left = 0
        self._begun: dict[str, int] = {}
        self._worker.register_task("steps_in_turn")(self._steps_in_turn)

    def version(self) -> str:
        return importlib.metadata.version("absurd-sdk")

    async def open(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(str(BUNDLED_SCHEMA_SQL).encode())
        await self._client.create_queue(QUEUE)

    async def close(self) -> None:
        await self._client.close()
        await self._worker.close()

    async def _steps_in_turn(self, params: Any, ctx: Any) -> int:
        total = 0
        for number in range(params["steps"]):
            total += await ctx.step("step", lambda number=number: step(number))
        self._left -= 1
        if self._left == 0:
            self._worker.stop_worker()
        return total

    async def _spawn(self, steps: int) -> str:
        spawned = await self._client.spawn("steps_in_turn", {"steps": steps}, queue=QUEUE)
        task_id = str(spawned["task_id"])
        self._begun[task_id] = steps
        return task_id

    async def run(self, steps: int) -> bool:
        task_id = await self._spawn(steps)
        result = await self._client.await_task_result(task_id)
        return bool(result.result == expected(steps))

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = await connection.execute("SELECT task_id::text, count(*) FROM absurd.c_default GROUP BY 1")
            points: dict[str, int] = dict(await cursor.fetchall())
        count = 0
        for task_id, steps in begun.items():
            got = await self._client.fetch_task_result(task_id)
            right = got is not None and got.state == "completed" and got.result == expected(steps)
            count += not (right and points.get(task_id, 0) == steps)
        return count

    async def warm_up(self, seconds: float = 1.0) -> dict[str, object]:
        answer = await self.together(100, 20)
        return {key: value for key, value in answer.items() if key != "took"}

    async def sequential(self, steps: int) -> dict[str, object]:
        answer = await self.together(1, 1, steps)
        return answer | {"count": steps}

    async def together(self, workflows: int, at_once: int, steps: int = STEPS) -> dict[str, object]:
        self._left = workflows

        async def spawn(count: int) -> None:
            for _ in range(count):
                await self._spawn(steps)

        with Clock() as clock:
            first = min(at_once, workflows)
            await spawn(first)  # the worker must find a task when it first polls
            await asyncio.gather(spawn(workflows - first), self._worker.start_worker(concurrency=at_once))
        return clock.said(count=workflows * steps, workflows=workflows, wrong=await self.wrong())

    @asynccontextmanager
    async def _working(self) -> AsyncGenerator[None]:
        """Run a worker during the block."""
        self._left = 0
        working = asyncio.create_task(self._worker.start_worker())
        yield
        self._worker.stop_worker()
        await working

    async def growth(self, steps: int) -> dict[str, object]:
        async with self._working():
            return await super().growth(steps)

    async def latency(self, workflows: int) -> dict[str, object]:
        """Run workflows of one step one after another, beside a running worker."""
        async with self._working():
            with Clock() as clock:
                took, failed = await sliding(workflows, 1, lambda: self.run(1))
        return clock.said(count=workflows, workflows=workflows, wrong=failed + await self.wrong(), took=took)

    async def starts(self, workflows: int, at_once: int) -> dict[str, object]:
        """Spawn tasks while nothing runs them, from one client, which has one connection."""

        async def one() -> bool:
            await self._spawn(0)
            return True

        with Clock() as clock:
            _, failed = await sliding(workflows, at_once, one)
        self._begun.clear()
        return clock.said(count=workflows, wrong=failed)

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        return super().tasks() | {"starts": self.starts}


if __name__ == "__main__":
    serve(Absurd)
