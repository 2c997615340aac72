"""The floor as a driver: the disk and the database without any library, on connections of its driver alone."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.drivers.protocol import Clock, Driver, serve
from benchmarks.storage_floor import Disk, default_journal, floor_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.storage_floor import Floor

CONNECTIONS = 16
_CALLS = 10_000


def _called(number: int) -> int:
    return number


async def _for_a_while(seconds: float, step: Callable[[], Awaitable[int]]) -> dict[str, object]:
    count = 0
    with Clock() as clock:
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            count += await step()
    return clock.said(count=count, wrong=0)


class TheFloor(Driver):
    name = "floor"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._floor: Floor = floor_of(url)

    def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}" if self.url.startswith("sqlite") else self.url.partition(":")[0]

    async def open(self) -> None:
        await self._floor.open()

    async def close(self) -> None:
        await self._floor.close()

    async def commits(self, seconds: float) -> dict[str, object]:
        """Commit one row at a time."""
        return await _for_a_while(seconds, self._floor.commit)

    async def rows(self, seconds: float) -> dict[str, object]:
        """Insert a batch of rows in each commit."""
        return await _for_a_while(seconds, self._floor.rows)

    async def round_trips(self, seconds: float) -> dict[str, object]:
        """Make round trips that read nothing, one after another."""
        return await _for_a_while(seconds, self._floor.nothing)

    async def commits_of_many(self, seconds: float) -> dict[str, object]:
        """Commit one row at a time on each of 16 connections, which may share a flush."""
        others = [floor_of(self.url) for _ in range(CONNECTIONS)]
        for one in others:
            await one.join()
        answers = await asyncio.gather(*[_for_a_while(seconds, one.commit) for one in others])
        for one in others:
            await one.leave()
        return answers[0] | {"count": sum(answer["count"] for answer in answers)}  # type: ignore[misc]

    async def syncs(self, seconds: float) -> dict[str, object]:
        """Write 4 kB to the disk and wait for it."""
        with tempfile.TemporaryDirectory(dir=Path(self.url.removeprefix("sqlite:///")).parent) as folder:
            disk = Disk(Path(folder))
            try:
                return await _for_a_while(seconds, disk.sync)
            finally:
                disk.close()

    async def python_calls(self, seconds: float) -> dict[str, object]:
        """Call a small function of Python, so that readers can tell a slow processor from a slow library."""

        async def many() -> int:
            for number in range(_CALLS):
                _called(number)
            return _CALLS

        return await _for_a_while(seconds, many)

    async def default_journal(self, seconds: float) -> dict[str, object]:
        """Commit one row at a time with SQLite's default journal, which some libraries keep."""
        floor = default_journal(self.url)
        await floor.open()
        try:
            return await _for_a_while(seconds, floor.commit)
        finally:
            await floor.close()

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        tasks: dict[str, Callable[..., Awaitable[dict[str, object]]]] = {"commits": self.commits, "rows": self.rows}
        if self.url.startswith("sqlite"):
            return tasks | {
                "python_calls": self.python_calls, "syncs": self.syncs, "default_journal": self.default_journal,
            }  # fmt: skip
        return tasks | {"round_trips": self.round_trips, "commits_of_many": self.commits_of_many}


if __name__ == "__main__":
    serve(TheFloor)
