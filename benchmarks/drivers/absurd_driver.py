"""Absurd: the asynchronous client and worker in one process, with the library's defaults. Each has one connection."""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib.metadata

import psycopg
from absurd_sdk import AsyncAbsurd
from absurdctl import BUNDLED_SCHEMA_SQL

from benchmarks.drivers.protocol import expected, serve
from benchmarks.drivers.task_queue import QueueDriver

QUEUE = "default"


class Absurd(QueueDriver):
    name = "absurd"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.client = AsyncAbsurd(url, queue_name=QUEUE)
        self.worker = AsyncAbsurd(url, queue_name=QUEUE)
        self._begun: dict[str, int] = {}
        """The steps of each task."""
        self.worker.register_task("steps_in_turn")(self.steps_in_turn)

    def version(self) -> str:
        return importlib.metadata.version("absurd-sdk")

    async def open(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(str(BUNDLED_SCHEMA_SQL).encode())
        await self.client.create_queue(QUEUE)

    async def close(self) -> None:
        await self.client.close()
        await self.worker.close()

    async def spawn(self, steps: int) -> str:
        spawned = await self.client.spawn("steps_in_turn", {"steps": steps}, queue=QUEUE)
        task_id = str(spawned["task_id"])
        self._begun[task_id] = steps
        return task_id

    def forget(self) -> None:
        self._begun.clear()

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = await connection.execute("SELECT task_id::text, count(*) FROM absurd.c_default GROUP BY 1")
            points: dict[str, int] = dict(await cursor.fetchall())
        count = 0
        for task_id, steps in begun.items():
            got = await self.client.fetch_task_result(task_id)
            right = got is not None and got.state == "completed" and got.result == expected(steps)
            count += not (right and points.get(task_id, 0) == steps)
        return count


if __name__ == "__main__":
    serve(Absurd)
