"""DBOS Transact: asynchronous workflows and steps, with the library's defaults."""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import time
from typing import TYPE_CHECKING

from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks.drivers.protocol import STEPS, Clock, Driver, expected, serve, sliding, step_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUEUE = "bench"
TIMER = 0.05

held: list[int] = []
closed = False
late: list[float] = []


@DBOS.step()
async def step(number: int) -> int:
    return step_body(number)


@DBOS.step()
async def held_step(number: int) -> int:
    if closed:
        held.append(number)
        await asyncio.Event().wait()
    return number


@DBOS.step()
async def note_late(due: float) -> float:
    late.append(time.time() - due)
    return time.time()


@DBOS.workflow()
async def steps_in_turn(steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await step(number)
    return total


@DBOS.workflow()
async def held_at_last(steps: int) -> int:
    total: int = 0
    for number in range(steps - 1):
        total += await step(number)
    last: int = await held_step(steps - 1)
    return total + last


@DBOS.workflow()
async def wide(width: int) -> int:
    return sum(await asyncio.gather(*[step(number) for number in range(width)]))


@DBOS.workflow()
async def child(number: int) -> int:
    result: int = await step(number)
    return result


@DBOS.workflow()
async def parent(width: int) -> int:
    handles = [await DBOS.start_workflow_async(child, number) for number in range(width)]
    return sum([await handle.get_result() for handle in handles])


@DBOS.workflow()
async def woken_by_signals(times: int) -> int:
    for _ in range(times):
        await note_late(await DBOS.recv_async("ping"))
    return times


@DBOS.workflow()
async def woken_by_timers(times: int) -> int:
    for _ in range(times):
        began = await note_late(0.0)
        await DBOS.sleep_async(TIMER)
        await note_late(began + TIMER)
    return times


class Dbos(Driver):
    name = "dbos"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._begun: dict[str, int] = {}

    def version(self) -> str:
        return importlib.metadata.version("dbos")

    async def open(self) -> None:
        DBOS(config=DBOSConfig(name="romancy-bench", system_database_url=self.url))
        logging.getLogger("dbos").setLevel(logging.WARNING)
        DBOS.launch()

    async def close(self) -> None:
        DBOS.destroy()

    async def run(self, steps: int) -> bool:
        handle = await DBOS.start_workflow_async(steps_in_turn, steps)
        self._begun[handle.workflow_id] = steps
        result: int = await handle.get_result()
        return result == expected(steps)

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        count = 0
        for workflow_id, steps in begun.items():
            status = await DBOS.get_workflow_status_async(workflow_id)
            done = await DBOS.list_workflow_steps_async(workflow_id)
            count += status is None or status.status != "SUCCESS" or len(done) != steps
        return count

    async def starts(self, workflows: int, at_once: int) -> dict[str, object]:
        """Enqueue workflows on a queue without a worker."""
        client = DBOSClient(system_database_url=self.url)

        async def one() -> bool:
            await client.enqueue_async({"workflow_name": "steps_in_turn", "queue_name": QUEUE}, 1)
            return True

        with Clock() as clock:
            _, failed = await sliding(workflows, at_once, one)
        client.destroy()
        return clock.said(count=workflows, wrong=failed)

    async def fan_out(self, width: int, of: str) -> dict[str, object]:
        """Run so many steps or children of one workflow at once."""
        with Clock() as clock:
            handle = await DBOS.start_workflow_async(parent if of == "children" else wide, width)
            result: int = await handle.get_result()
        return clock.said(count=width, wrong=int(result != expected(width)))

    async def wake_ups(self, times: int, by: str) -> dict[str, object]:
        """Wake one workflow repeatedly; return each delay."""
        late.clear()
        with Clock() as clock:
            handle = await DBOS.start_workflow_async(woken_by_timers if by == "timers" else woken_by_signals, times)
            for number in range(times if by == "signals" else 0):
                while len(late) < number:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.005)
                await asyncio.sleep(TIMER)
                await DBOS.send_async(handle.workflow_id, time.time(), "ping")
            await handle.get_result()
        took = late[1::2] if by == "timers" else list(late)
        return clock.said(count=times, wrong=int(len(took) != times), took=took)

    async def hold(self, workflows: int) -> dict[str, object]:
        """Start so many workflows, and return when each is in the middle of its last step."""
        global closed  # noqa: PLW0603 - this process is killed next
        closed = True
        for _ in range(workflows):
            await DBOS.start_workflow_async(held_at_last, STEPS)
        while len(held) < workflows:  # noqa: ASYNC110 - the held activities count themselves
            await asyncio.sleep(0.05)
        return {"wrong": 0}

    async def recover(self, workflows: int) -> dict[str, object]:
        """Return when all workflows have ended that a former process left open."""
        with Clock() as clock:
            while await DBOS.list_workflows_async(status=["PENDING", "ENQUEUED"], limit=1):  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.02)
        ended = await DBOS.list_workflows_async(name=held_at_last.__qualname__, status="SUCCESS")
        return clock.said(count=workflows, wrong=workflows - len(ended))

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        return super().tasks() | {
            "starts": self.starts,
            "fan_out": self.fan_out,
            "wake_ups": self.wake_ups,
            "hold": self.hold,
            "recover": self.recover,
        }


if __name__ == "__main__":
    serve(Dbos)
