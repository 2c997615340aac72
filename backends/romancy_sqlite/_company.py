"""Who else has something small to write in this turn of the event loop.

One alone is committed at once, on the loop's thread. Several together are one commit, on the writer's: as many commits
one after the other would each stop the loop for as long as the disk takes.
"""

from __future__ import annotations

import asyncio

__all__ = ["Company"]


class Company:
    """Tells one from many by how many came in a turn, and expects of the next turn what it saw in the last."""

    def __init__(self) -> None:
        self._came = 0
        self._came_last = 0
        self._first: asyncio.Task[object] | None = None

    async def alone(self) -> bool:
        """Whether the caller is the only one. No caller is answered twice in a turn without letting others run."""
        task = asyncio.current_task()
        if self._came == 0:
            asyncio.get_running_loop().call_soon(self._end_turn)
            self._came = 1
            self._first = task
            if self._came_last == 1:
                return True
        elif task is not self._first:
            self._came += 1
        await asyncio.sleep(0)
        return self._came_last == 1

    def _end_turn(self) -> None:
        self._came_last = self._came
        self._came = 0
        self._first = None
