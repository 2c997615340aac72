"""Edda: `@workflow` and `@activity` in an `EddaApp` with the library's defaults, on uvloop, which it recommends."""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib.metadata
import json

import uvloop
from edda import EddaApp, WorkflowContext, activity, workflow
from sqlalchemy import text

from benchmarks.drivers.protocol import Driver, expected, serve, step_body


@activity
async def step(ctx: WorkflowContext, number: int) -> int:
    return step_body(number)


@workflow
async def steps_in_turn(ctx: WorkflowContext, steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await step(ctx, number)
    return total


class Edda(Driver):
    name = "edda"
    loop = staticmethod(uvloop.run)

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._begun: dict[str, int] = {}
        self._app = EddaApp(
            service_name="romancy-bench", db_url=url.replace("postgresql://", "postgresql+asyncpg://", 1)
        )

    def version(self) -> str:
        return importlib.metadata.version("edda-framework")

    async def open(self) -> None:
        await self._app.initialize()

    async def close(self) -> None:
        await self._app.shutdown()

    async def run(self, steps: int) -> bool:
        instance_id: str = await steps_in_turn.start(steps=steps)  # returns when the workflow has ended
        self._begun[instance_id] = steps
        return True

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        async with self._app.storage.engine.connect() as connection:
            rows = await connection.execute(text("SELECT instance_id, status, output_data FROM workflow_instances"))
            ended = {row[0]: (row[1], row[2]) for row in rows.all()}
            rows = await connection.execute(
                text("SELECT instance_id, count(*) FROM workflow_history GROUP BY instance_id")
            )
            done = {row[0]: row[1] for row in rows.all()}
        count = 0
        for instance_id, steps in begun.items():
            status, output = ended.get(instance_id, ("", None))
            result = json.loads(output) if isinstance(output, str) else output
            right = status == "completed" and result == {"result": expected(steps)}
            count += not (right and done.get(instance_id, 0) == steps)
        return count


if __name__ == "__main__":
    serve(Edda)
