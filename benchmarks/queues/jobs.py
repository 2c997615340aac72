"""What a job does, in every library: it tells the process that enqueued it that it has run.

It writes its number into a pipe that the starter reads, so how an execution is seen is the same for all.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FREE", "KEYED", "KEYS", "NARROW", "PIPE", "PLACES", "Seen", "key_of", "pipe", "ran"]

PIPE: Final = "ROMANCY_BENCH_PIPE"
"""The environment variable with the path of the pipe."""
FREE: Final = "free"
NARROW: Final = "narrow"
"""At most `PLACES` jobs at once, over all workers."""
KEYED: Final = "keyed"
"""One job at a time for each of `KEYS` keys."""
PLACES: Final = 20
KEYS: Final = 20
_NUMBER: Final = struct.Struct("<i")


def key_of(number: int) -> str:
    """Return the key of a job whose key has a limit."""
    return f"key {number % KEYS}"


@cache
def pipe() -> int:
    """Return the worker's end of the pipe."""
    return os.open(os.environ[PIPE], os.O_WRONLY)


def ran(number: int) -> int:
    """Do the work of a job."""
    os.write(pipe(), _NUMBER.pack(number))  # atomic, because it is short
    return number


class Seen:
    """The starter's end of the pipe: which jobs have run, how often, and when this process saw the last of them."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._end = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._wanted = 0
        self._enough = asyncio.Event()
        self._counts: Counter[int] = Counter()
        self.at = 0.0
        """When the last one was seen."""

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._end, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._end)
        os.close(self._end)

    def begin(self, count: int) -> None:
        """Forget what has run, and expect so many different jobs."""
        self._read()
        self._counts.clear()
        self._wanted = count
        self._enough.clear()

    async def all(self, patience: float) -> None:
        """Wait until as many different jobs have run as are expected."""
        try:
            async with asyncio.timeout(patience):
                await self._enough.wait()
        except TimeoutError:
            raise RuntimeError(f"{len(self._counts)} of {self._wanted} jobs ran within {patience:.0f} s") from None

    def wrong(self) -> int:
        """Return how many of the expected jobs have not run exactly once, by now."""
        self._read()
        return self._wanted - len(self._counts) + sum(times > 1 for times in self._counts.values())

    def _read(self) -> None:
        try:
            some = os.read(self._end, 1 << 16)
        except BlockingIOError:
            return
        self.at = time.perf_counter()
        self._counts.update(number for (number,) in _NUMBER.iter_unpack(some))
        if len(self._counts) >= self._wanted:
            self._enough.set()
