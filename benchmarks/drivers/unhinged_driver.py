"""Unhinged, Absurd's engine on SQLite: the asynchronous client and worker in one process, with the library's defaults.

It is a queue with a worker that polls. In `together` the client spawns tasks while the worker runs as many of them at
once as the task says, and returns when the last one is complete. From start to result (`latency`), the client waits as
the library does, which polls.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import importlib.metadata
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from unhinged.aio import AsyncUnhinged

from benchmarks.drivers.protocol import STEPS, Clock, Driver, expected, serve, sliding, step_body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable


async def step(number: int) -> int:
    return step_body(number)


class UnhingedDriver(Driver):
    name = "unhinged"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._app = AsyncUnhinged(url.removeprefix("sqlite:///"))
        self._left = 0
        self._begun: dict[tuple[str, str], int] = {}
        """The steps of each task and its run."""
        self._app.register_task("steps_in_turn")(self._steps_in_turn)

    def version(self) -> str:
        return importlib.metadata.version("unhinged")

    async def open(self) -> None:
        self._app.create_queue()

    async def close(self) -> None:
        self._app.close()

    async def _steps_in_turn(self, params: Any, ctx: Any) -> int:
        total = 0
        for number in range(params["steps"]):
            total += await ctx.step("step", lambda number=number: step(number))
        self._left -= 1
        if self._left == 0:
            self._app.stop_worker()
        return total

    def _spawn(self, steps: int) -> str:
        spawned = self._app.spawn("steps_in_turn", {"steps": steps})
        self._begun[spawned["task_id"], spawned["run_id"]] = steps
        return str(spawned["task_id"])

    async def run(self, steps: int) -> bool:
        result = await self._app.await_task_result(self._spawn(steps))
        return bool(result.result == expected(steps))

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        count = 0
        for (task_id, run_id), steps in begun.items():
            got = self._app.fetch_task_result(task_id)
            points = self._app.engine.get_task_checkpoint_states(self._app.queue_name, task_id, run_id)
            right = got is not None and got.state == "completed" and got.result == expected(steps)
            count += not (right and len(points) == steps)
        return count

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
                self._spawn(steps)
            await asyncio.gather(
                self._spawn_more(workflows - first, steps), self._app.start_worker(concurrency=at_once)
            )
        return clock.said(count=workflows * steps, workflows=workflows, wrong=await self.wrong())

    async def _spawn_more(self, count: int, steps: int) -> None:
        for _ in range(count):
            self._spawn(steps)
            await asyncio.sleep(0)

    @asynccontextmanager
    async def _working(self) -> AsyncGenerator[None]:
        """Run a worker during the block."""
        self._left = 0
        working = asyncio.create_task(self._app.start_worker())
        yield
        self._app.stop_worker()
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
        """Spawn tasks while nothing runs them."""

        async def one() -> bool:
            self._spawn(0)
            return True

        with Clock() as clock:
            _, failed = await sliding(workflows, at_once, one)
        self._begun.clear()
        return clock.said(count=workflows, wrong=failed)

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        return super().tasks() | {"starts": self.starts}


if __name__ == "__main__":
    serve(UnhingedDriver)
