"""Unhinged's adapter for pydantic-ai."""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from unhinged.aio import AsyncUnhinged
from unhinged.pydantic_ai import UnhingedDurability

from benchmarks.agents.agent import TaskDriver, swallow
from benchmarks.drivers.protocol import serve


class UnhingedAgent(TaskDriver):
    name = "unhinged"
    package = "unhinged"

    def __init__(self, url: str) -> None:
        super().__init__(url, UnhingedDurability(), UnhingedDurability(event_stream_handler=swallow))
        self.app = AsyncUnhinged(url.removeprefix("sqlite:///"))

    async def open(self) -> None:
        self.app.create_queue()
        await self.work()

    async def close(self) -> None:
        await super().close()
        self.app.close()

    async def durably(self, prompt: str, *, events: bool) -> str:
        spawned = self.app.spawn("run_agent", {"prompt": prompt, "events": events})
        return str((await self.app.await_task_result(str(spawned["task_id"]))).result)


if __name__ == "__main__":
    serve(UnhingedAgent)
