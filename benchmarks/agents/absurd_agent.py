"""Absurd's adapter for pydantic-ai, of the project's harness."""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import psycopg
from absurd_sdk import AsyncAbsurd
from absurdctl import BUNDLED_SCHEMA_SQL
from pydantic_ai_harness.absurd import AbsurdDurability

from benchmarks.agents.agent import TaskDriver, swallow
from benchmarks.drivers.protocol import serve

QUEUE = "default"


class AbsurdAgent(TaskDriver):
    name = "absurd"
    package = "absurd-sdk"

    def __init__(self, url: str) -> None:
        super().__init__(url, AbsurdDurability(), AbsurdDurability(event_stream_handler=swallow))
        self.app = AsyncAbsurd(url, queue_name=QUEUE)
        self._client = AsyncAbsurd(url, queue_name=QUEUE)

    async def open(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(str(BUNDLED_SCHEMA_SQL).encode())
        await self._client.create_queue(QUEUE)
        await self.work()

    async def close(self) -> None:
        await super().close()
        await self.app.close()
        await self._client.close()

    async def durably(self, prompt: str, *, events: bool) -> str:
        spawned = await self._client.spawn("run_agent", {"prompt": prompt, "events": events}, queue=QUEUE)
        return str((await self._client.await_task_result(str(spawned["task_id"]))).result)


if __name__ == "__main__":
    serve(AbsurdAgent)
