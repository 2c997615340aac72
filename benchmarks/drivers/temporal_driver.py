"""Temporal: the Python SDK with its defaults against a development server that this driver starts.

The server is Temporal's own module, set up as `temporal server start-dev --db-filename` sets it up, with its data in
the SQLite file of the URL. Temporal does not offer it for production. A step is an activity.
"""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib.metadata
import uuid
from datetime import timedelta

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from temporalio.api.enums.v1 import EventType

    from benchmarks.drivers.protocol import Driver, expected, serve, step_body
    from benchmarks.drivers.temporal_server_process import Served

QUEUE = "bench"
TIMEOUT = timedelta(seconds=60)
"""Temporal wants one for every activity."""


@activity.defn
async def step(number: int) -> int:
    return step_body(number)


@workflow.defn
class StepsInTurn:
    @workflow.run
    async def run(self, steps: int) -> int:
        total = 0
        for number in range(steps):
            total += await workflow.execute_activity(step, number, start_to_close_timeout=TIMEOUT)
        return total


class Temporal(Driver):
    name = "temporal"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._begun: dict[str, int] = {}
        self._served = Served()

    def version(self) -> str:
        return f"{importlib.metadata.version('temporalio')}, server {self._served.version}"

    async def open(self) -> None:
        await self._served.serve(self.url, task_queue=QUEUE, workflows=[StepsInTurn], activities=[step])

    async def close(self) -> None:
        await self._served.end()

    async def run(self, steps: int) -> bool:
        handle = await self._served.client.start_workflow(
            StepsInTurn.run, steps, id=str(uuid.uuid4()), task_queue=QUEUE
        )
        self._begun[handle.id] = steps
        result: int = await handle.result()
        return result == expected(steps)

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        count = 0
        for workflow_id, steps in begun.items():
            handle = self._served.client.get_workflow_handle(workflow_id)
            events = [event.event_type async for event in handle.fetch_history_events()]
            done = events.count(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
            count += done != steps or events[-1] != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
        return count


if __name__ == "__main__":
    serve(Temporal)
