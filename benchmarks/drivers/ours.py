"""Romancy, in the environment of the tree: starting and running in one process, with the library's defaults.

If `ROMANCY_BENCH_CLIENT` is set, this process has no worker, and other processes have. If `ROMANCY_BENCH_HELD` is set,
it may run all activities at once.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import time
from typing import TYPE_CHECKING, Any

from benchmarks.drivers.protocol import STEPS, Clock, Driver, expected, rss_mb, serve, sliding, step_body
from romancy import Romancy, Status, WorkflowContext, activity, workflow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy import Handle

CLIENT = "ROMANCY_BENCH_CLIENT"
HELD = "ROMANCY_BENCH_HELD"
OPEN = (Status.PENDING, Status.RUNNING, Status.WAITING)
TIMER = 0.05
"""Seconds of the timers."""
LATER = 3600


class Gate:
    """Holds activities of a process that is to be killed, or to be weighed."""

    def __init__(self) -> None:
        self.held = 0
        self.closed = False


gate = Gate()
late: list[float] = []
"""The delay of each wake-up, in seconds."""


@activity
async def step(number: int) -> int:
    return step_body(number)


@activity(commit="lazy")
async def lazy_step(number: int) -> int:
    return step_body(number)


@activity
async def held_step(number: int) -> int:
    if gate.closed:
        gate.held += 1
        await asyncio.Event().wait()
    return number


@activity
async def note_late(due: float) -> float:
    late.append(time.time() - due)
    return time.time()


@workflow
async def steps_in_turn(ctx: WorkflowContext, steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await step(number)
    return total


@workflow
async def lazily_in_turn(ctx: WorkflowContext, steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await lazy_step(number)
    return total


@workflow
async def held_at_last(ctx: WorkflowContext, steps: int) -> int:
    total = 0
    for number in range(steps - 1):
        total += await step(number)
    return total + await held_step(steps - 1)


@workflow
async def wide(ctx: WorkflowContext, width: int) -> int:
    return sum(await asyncio.gather(*[step(number) for number in range(width)]))


@workflow
async def child(ctx: WorkflowContext, number: int) -> int:
    return await step(number)


@workflow
async def parent(ctx: WorkflowContext, width: int) -> int:
    return sum(await asyncio.gather(*[child(number) for number in range(width)]))


@workflow
async def woken_by_signals(ctx: WorkflowContext, times: int) -> int:
    for _ in range(times):
        event = await ctx.wait_event("ping", model=float)
        await note_late(event.data)
    return times


@workflow
async def woken_by_timers(ctx: WorkflowContext, times: int) -> int:
    for _ in range(times):
        began = await note_late(0.0)
        await ctx.sleep(TIMER)
        await note_late(began + TIMER)
    return times


WORKFLOWS: list[Any] = [
    steps_in_turn, lazily_in_turn, held_at_last, wide, child, parent, woken_by_signals, woken_by_timers,
]  # fmt: skip


def _at_once() -> int:
    """Return how many activities may run at once: the library's default, unless this process holds them."""
    return 100_000 if HELD in os.environ else 1000


class Ours(Driver):
    name = "romancy"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._begun: dict[str, int] = {}
        self._app = Romancy(url, workflows=WORKFLOWS, worker=CLIENT not in os.environ, max_activities=_at_once())

    def version(self) -> str:
        return importlib.metadata.version("romancy")

    async def open(self) -> None:
        await self._app.__aenter__()

    async def close(self) -> None:
        await self._app.__aexit__(None, None, None)

    async def run(self, steps: int) -> bool:
        handle = await self._app.start(steps_in_turn, steps)
        self._begun[handle.instance_id] = steps
        return await handle.result() == expected(steps)

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        count = 0
        for instance_id, steps in begun.items():
            names = [type(event).__name__ for event in await self._app.history(instance_id)]
            count += names.count("ActivityCompleted") != steps or names[-1] != "WorkflowCompleted"
        return count

    async def in_batches(self, workflows: int, at_once: int) -> dict[str, object]:
        """Start `at_once` workflows with one call, wait for all of them, and so on."""
        failed = 0
        with Clock() as clock:
            for _ in range(workflows // at_once):
                handles: list[Handle[int]] = await self._app.start_many([steps_in_turn.bind(STEPS)] * at_once)
                results = await asyncio.gather(*[handle.result() for handle in handles])
                failed += sum(result != expected(STEPS) for result in results)
                self._begun |= dict.fromkeys([handle.instance_id for handle in handles], STEPS)
        return clock.said(count=workflows * STEPS, workflows=workflows, wrong=failed + await self.wrong())

    async def lazily(self, steps: int) -> dict[str, object]:
        """Run one workflow of so many lazy steps, one after another."""
        with Clock() as clock:
            handle = await self._app.start(lazily_in_turn, steps)
            result = await handle.result()
        self._begun[handle.instance_id] = steps
        return clock.said(count=steps, wrong=int(result != expected(steps)) + await self.wrong())

    async def starts(self, workflows: int, at_once: int) -> dict[str, object]:
        """Start workflows that begin in an hour, each with a call of its own."""

        async def one() -> bool:
            await self._app.start(steps_in_turn.options(delay=LATER), 1)
            return True

        with Clock() as clock:
            _, failed = await sliding(workflows, at_once, one)
        return clock.said(count=workflows, wrong=failed)

    async def starts_in_bulk(self, workflows: int) -> dict[str, object]:
        """Start as many with one call."""
        with Clock() as clock:
            await self._app.start_many([steps_in_turn.options(delay=LATER).bind(1)] * workflows)
        return clock.said(count=workflows, wrong=0)

    async def fan_out(self, width: int, of: str) -> dict[str, object]:
        """Run so many activities or children of one workflow at once."""
        with Clock() as clock:
            result = await self._app.run(parent if of == "children" else wide, width)
        return clock.said(count=width, wrong=int(result != expected(width)))

    async def wake_ups(self, times: int, by: str) -> dict[str, object]:
        """Wake one workflow repeatedly; return each delay."""
        late.clear()
        with Clock() as clock:
            if by == "timers":
                await self._app.run(woken_by_timers, times)
                took = late[1::2]
            else:
                handle = await self._app.start(woken_by_signals, times)
                for number in range(times):
                    while await handle.status() != "waiting" or len(late) < number:  # noqa: ASYNC110 - there is no event for it
                        await asyncio.sleep(0.005)
                    await handle.signal("ping", time.time())
                await handle.result()
                took = list(late)
        return clock.said(count=times, wrong=int(len(took) != times), took=took)

    async def hold(self, workflows: int) -> dict[str, object]:
        """Start so many workflows, and return when each is in the middle of its last step."""
        before = rss_mb()
        gate.closed, gate.held = True, 0
        for begun in range(0, workflows, 1000):
            await self._app.start_many([held_at_last.bind(STEPS)] * min(1000, workflows - begun))
        while gate.held < workflows:  # noqa: ASYNC110 - the held activities count themselves
            await asyncio.sleep(0.05)
        return {"before": before, "resident": rss_mb(), "wrong": 0}

    async def recover(self, workflows: int) -> dict[str, object]:
        """Return when all workflows have ended that a former process left open."""
        with Clock() as clock:
            await self._until_none_is_open()
        ended = len(
            [one async for one in self._app.iter_instances(status="completed", workflow_name=held_at_last.name)]
        )
        return clock.said(count=workflows, wrong=workflows - ended)

    async def all_done(self, workflows: int) -> dict[str, object]:
        """Start so many workflows in bulk, and return when other processes have ended them."""
        with Clock() as clock:
            await self._app.start_many([steps_in_turn.bind(STEPS)] * workflows)
            await self._until_none_is_open()
        return clock.said(count=workflows * STEPS, wrong=0)

    async def _until_none_is_open(self) -> None:
        while (await self._app.list_instances(status=OPEN, limit=1)).instances:  # noqa: ASYNC110 - other processes work
            await asyncio.sleep(0.02)

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        return super().tasks() | {
            "in_batches": self.in_batches,
            "lazily": self.lazily,
            "starts": self.starts,
            "starts_in_bulk": self.starts_in_bulk,
            "fan_out": self.fan_out,
            "wake_ups": self.wake_ups,
            "hold": self.hold,
            "recover": self.recover,
            "all_done": self.all_done,
        }


if __name__ == "__main__":
    serve(Ours)
