"""A driver of a library that is a queue of tasks with a worker that polls it.

In `together` one client spawns tasks while the worker runs as many of them at once as the task says. The worker returns
when the last task has been recorded as complete, so nothing has to poll for the end. From start to result (`latency`),
the client waits as the library does, which polls.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.drivers.protocol import STEPS, Clock, Driver, expected, sliding, step_body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["QueueDriver"]


async def step(number: int) -> int:
    return step_body(number)


class QueueDriver(Driver):
    """A subclass registers `steps_in_turn` as a task, spawns it, and says which of its tasks went wrong."""

    client: Any
    """Spawns tasks and reads their results."""
    worker: Any
    """Runs tasks. It may be the client."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._left = 0
        """How many tasks have to end before the worker stops. 0: it is stopped from outside."""

    async def spawn(self, steps: int) -> str:
        """Spawn a task of so many steps; return its id."""
        raise NotImplementedError

    def forget(self) -> None:
        """Forget the tasks that were spawned and have not run."""
        raise NotImplementedError

    async def steps_in_turn(self, params: Any, ctx: Any) -> int:
        total = 0
        for number in range(params["steps"]):
            total += await ctx.step("step", lambda number=number: step(number))
        self._left -= 1
        if self._left == 0:
            self.worker.stop_worker()
        return total

    async def run(self, steps: int) -> bool:
        result = await self.client.await_task_result(await self.spawn(steps))
        return bool(result.result == expected(steps))

    async def warm_up(self, seconds: float = 1.0) -> dict[str, object]:
        answer = await self.together(100, 20)
        return {key: value for key, value in answer.items() if key != "took"}

    async def sequential(self, steps: int) -> dict[str, object]:
        answer = await self.together(1, 1, steps)
        return answer | {"count": steps}

    async def together(self, workflows: int, at_once: int, steps: int = STEPS) -> dict[str, object]:
        self._left = workflows
        with Clock() as clock:
            first = min(at_once, workflows)
            for _ in range(first):  # the worker must find a task when it first polls
                await self.spawn(steps)
            await asyncio.gather(
                self._spawn_more(workflows - first, steps), self.worker.start_worker(concurrency=at_once)
            )
        return clock.said(count=workflows * steps, workflows=workflows, wrong=await self.wrong())

    async def _spawn_more(self, count: int, steps: int) -> None:
        for _ in range(count):
            await self.spawn(steps)
            await asyncio.sleep(0)  # a client that blocks gives the worker its turn

    @asynccontextmanager
    async def _working(self) -> AsyncGenerator[None]:
        """Run a worker during the block."""
        self._left = 0
        working = asyncio.create_task(self.worker.start_worker())
        yield
        self.worker.stop_worker()
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
        """Spawn tasks while nothing runs them, from one client."""

        async def one() -> bool:
            await self.spawn(0)
            return True

        with Clock() as clock:
            _, failed = await sliding(workflows, at_once, one)
        self.forget()
        return clock.said(count=workflows, wrong=failed)

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        return super().tasks() | {"starts": self.starts}
