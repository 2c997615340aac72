"""A workflow that forgets a task that fails, and a program without pytest that writes the warnings of its run."""

from __future__ import annotations

import asyncio
import gc
import json

from romancy.context import WorkflowContext
from romancy.core import Run
from romancy.workflow import workflow
from tests.core.driver import started


@workflow
async def forgets(ctx: WorkflowContext, turns: int) -> None:
    async def fail() -> None:
        raise LookupError("the reason")

    task = asyncio.create_task(fail())
    for _ in range(turns):
        await asyncio.sleep(0)
    del task


def told(turns: int) -> list[str]:
    """The warnings of a run with so many turns. The collector of cycles is off: it comes at an arbitrary time."""
    gc.disable()
    try:
        return list(Run(forgets, instance_id="one").activate([started(forgets, turns)]).warnings)
    finally:
        gc.enable()


if __name__ == "__main__":
    print(json.dumps([told(1), told(20_000)]))
