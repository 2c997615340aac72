"""Many instances without running workflows: rows written through the storage protocol, and calls on them."""

from __future__ import annotations

import secrets
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.drivers.protocol import Clock, Driver, serve
from benchmarks.scale_work import HOUR, Population, fill
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.query import build_query
from romancy.storage.records import Append, Change
from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TRIES = 5
WORKFLOW = "held_at_last"
"""A workflow of the process beside them, so that they are its own."""


def waiting(number: int) -> Append:
    """Return an instance that waits for a timer, or for mail."""
    wake_at = time.time_ns() // 1000 + HOUR * 10 + number if number % 2 else None
    return start(
        f"waiting-{secrets.token_hex(12)}", workflow_name=WORKFLOW, input=b'{"order":{"id":"o-4711"}}',
        change=Change(status=Status.WAITING, seen=0, release=True, wake_at=wake_at),
    )  # fmt: skip


class Rows(Driver):
    name = "rows"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._store = create_store(url)
        self._population = Population(0)

    def version(self) -> str:
        return self._store.capabilities.name

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    async def fill(self, size: int) -> dict[str, object]:
        """Add instances until there are so many."""
        with Clock() as clock:
            more = Population(size - self._population.size)
            await more.fill(self._store)
        self._population = Population(size)
        return clock.said(count=more.size)

    async def fill_waiting(self, size: int) -> dict[str, object]:
        """Add instances that wait."""
        with Clock() as clock:
            await fill(self._store, size, waiting)
        return clock.said(count=size)

    async def find(self, *, indexed: bool) -> dict[str, object]:
        """Find by a path; return the median seconds of a few calls."""
        path = {"customer.id": "c-1"} if indexed else {"order.total": -1}
        times: list[float] = []
        for _ in range(TRIES):
            began = time.perf_counter()
            await self._store.services.reading.find(build_query(path))
            times.append(time.perf_counter() - began)
        return {"each": statistics.median(times)}

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        return {"fill": self.fill, "fill_waiting": self.fill_waiting, "find": self.find}


if __name__ == "__main__":
    serve(Rows)
