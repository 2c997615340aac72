"""Kairo: an embedded backend on SQLite, with the library's defaults. A step is an action that may be repeated."""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib.metadata
import sqlite3
import uuid
from contextlib import closing
from typing import Any

from kairo_sdk import EmbeddedBackend, Kairo, SQLiteStore

from benchmarks.drivers.protocol import Driver, expected, serve, step_body


class KairoDriver(Driver):
    name = "kairo"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._begun: dict[str, int] = {}
        self._path = url.removeprefix("sqlite:///")

    def version(self) -> str:
        return importlib.metadata.version("kairo-sdk")

    async def open(self) -> None:
        self._kairo = Kairo(backend=await EmbeddedBackend.open(SQLiteStore(self._path)))
        self._kairo.action("step", effect="unprotected")(_step)
        self._kairo.workflow("steps_in_turn")(_steps_in_turn)
        await self._kairo.start()

    async def close(self) -> None:
        await self._kairo.close()

    async def run(self, steps: int) -> bool:
        workflow_id = str(uuid.uuid4())
        self._begun[workflow_id] = steps
        result: int = await self._kairo.run("steps_in_turn", steps, id=workflow_id)
        return result == expected(steps)

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        count = 0
        with closing(sqlite3.connect(self._path)) as connection:
            rows = connection.execute(
                "SELECT parent, count(*) FROM kairo_run WHERE status = 'completed' AND parent IS NOT NULL GROUP BY 1"
            )
            done: dict[str, int] = dict(rows.fetchall())
        for workflow_id, steps in begun.items():
            got = await self._kairo.result(workflow_id)
            count += got != expected(steps) or done.get(workflow_id, 0) != steps
        return count


async def _step(number: int, _: Any) -> int:
    return step_body(number)


async def _steps_in_turn(ctx: Any, steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await ctx.call("step", number)
    return total


if __name__ == "__main__":
    serve(KairoDriver)
