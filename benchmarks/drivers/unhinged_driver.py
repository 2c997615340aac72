"""Unhinged, Absurd's engine on SQLite: the asynchronous client and worker in one process, with defaults."""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib.metadata

from unhinged.aio import AsyncUnhinged

from benchmarks.drivers.protocol import expected, serve
from benchmarks.drivers.task_queue import QueueDriver


class Unhinged(QueueDriver):
    name = "unhinged"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.client = self.worker = AsyncUnhinged(url.removeprefix("sqlite:///"))
        self._begun: dict[tuple[str, str], int] = {}
        """The steps of each task and its run."""
        self.worker.register_task("steps_in_turn")(self.steps_in_turn)

    def version(self) -> str:
        return importlib.metadata.version("unhinged")

    async def open(self) -> None:
        self.client.create_queue()

    async def close(self) -> None:
        self.client.close()

    async def spawn(self, steps: int) -> str:
        spawned = self.client.spawn("steps_in_turn", {"steps": steps})
        self._begun[spawned["task_id"], spawned["run_id"]] = steps
        return str(spawned["task_id"])

    def forget(self) -> None:
        self._begun.clear()

    async def wrong(self) -> int:
        begun, self._begun = self._begun, {}
        count = 0
        for (task_id, run_id), steps in begun.items():
            got = self.client.fetch_task_result(task_id)
            points = self.client.engine.get_task_checkpoint_states(self.client.queue_name, task_id, run_id)
            right = got is not None and got.state == "completed" and got.result == expected(steps)
            count += not (right and len(points) == steps)
        return count


if __name__ == "__main__":
    serve(Unhinged)
