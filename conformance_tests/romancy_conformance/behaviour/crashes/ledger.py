"""What activities really did: a file that survives their process, with a line for each beginning and each end."""

from __future__ import annotations

import asyncio
import os
import time
from functools import wraps
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from romancy import activity_context
from romancy_conformance.appending import append

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Entry", "Ledger"]


class Entry(Struct, frozen=True):
    """One attempt that began, or ended."""

    what: str
    instance_id: str
    activity_id: str
    attempt: int
    pid: int


class Ledger:
    """A file of entries; any number of processes may write it, and none overwrites another's entries."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, what: str) -> None:
        """Write one entry for the running attempt; it is in the file when this returns."""
        context = activity_context()
        words = (what, context.instance_id, context.activity_id, str(context.attempt), str(os.getpid()))
        append(self._path, "\t".join(words) + "\n")

    def read(self) -> list[Entry]:
        """All entries, in the order they were written."""
        if not self._path.exists():
            return []
        written, _, _ = self._path.read_text(encoding="utf-8").rpartition("\n")  # the rest is being written
        lines = [line.split("\t") for line in written.splitlines()]
        return [Entry(what, instance, id, int(attempt), int(pid)) for what, instance, id, attempt, pid in lines]

    def watched(self, fn: Callable[..., Any], seconds: float, *, is_async: bool) -> Callable[..., Any]:
        """Wrap the function: it takes at least `seconds`, and its beginning and its end are recorded."""

        @wraps(fn)
        async def run(*args: Any, **kwargs: Any) -> Any:
            self.note("begin")
            await asyncio.sleep(seconds)
            result = await fn(*args, **kwargs)
            self.note("end")
            return result

        @wraps(fn)
        def run_in_thread(*args: Any, **kwargs: Any) -> Any:
            self.note("begin")
            time.sleep(seconds)
            result = fn(*args, **kwargs)
            self.note("end")
            return result

        return run if is_async else run_in_thread
