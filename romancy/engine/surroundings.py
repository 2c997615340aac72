"""What a process has around it: clocks, chance, an identity and threads.

Everything here asks `here()` for them and nobody else. A process has one set, made once. An event loop may bring
another one, in its attribute `surroundings`: all that runs on this loop then finds that one. So a test can run many
workers as if each had a process, a machine and a clock of its own, and the engine does not know.

Chance is for pauses, ids and tokens. Workflows have their own, which is the same on replay (`ctx.random`).
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import sys
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from os import urandom
from typing import TYPE_CHECKING, Final

from romancy.engine import host

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.records import Host

__all__ = ["PROCESS", "Surroundings", "here"]

# Time since boot, which includes the time during which the machine was suspended.
if sys.platform == "win32":  # where `time.monotonic` has steps of 15.6 ms before Python 3.13
    _since_boot: Final[Callable[[], int]] = time.perf_counter_ns
    _seconds: Final[Callable[[], float]] = time.perf_counter
elif sys.platform == "darwin":  # where `time.monotonic` reads another clock, which stops meanwhile
    _since_boot: Final[Callable[[], int]] = partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC)
    _seconds: Final[Callable[[], float]] = time.monotonic
else:
    _since_boot: Final[Callable[[], int]] = partial(
        time.clock_gettime_ns, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    )
    _seconds: Final[Callable[[], float]] = time.monotonic


class Surroundings:
    """What a process of the operating system provides."""

    seconds: Callable[[], float] = staticmethod(_seconds)
    """A clock for durations, in seconds."""
    since_boot: Callable[[], int] = staticmethod(_since_boot)
    """The time since the machine was booted, in nanoseconds. It goes on while the machine is suspended."""
    uniform: Callable[[float, float], float] = staticmethod(random.uniform)
    """A number between two others, for the jitter of a pause."""
    octets: Callable[[int], bytes] = staticmethod(urandom)
    """So many bytes that nobody can guess."""

    def wall(self) -> int:
        """The time of day, in nanoseconds since 1970."""
        return time.time_ns()

    def token(self) -> str:
        """A name that nobody else has."""
        return secrets.token_hex(8)

    def name(self) -> str:
        """The name of this process for people: host and process id."""
        return f"{socket.gethostname()}:{os.getpid()}"

    def host(self) -> Host:
        """The description of this process, for the processes beside it."""
        return host.this_host()

    def certainly_gone(self, other: Host, own: Host) -> bool:
        """Whether the process described by `other` has certainly ended. `own` is the description of this one."""
        return host.certainly_gone(other, own)

    def threads(self, most: int, name: str) -> Executor:
        """At most so many threads for functions that are not coroutines."""
        return ThreadPoolExecutor(most, thread_name_prefix=name)


PROCESS: Final = Surroundings()
"""The surroundings of a loop that brings no others."""


def here() -> Surroundings:
    """The surroundings of the running event loop, or else of this process."""
    found: Surroundings = getattr(asyncio._get_running_loop(), "surroundings", PROCESS)  # noqa: SLF001 - None without a loop
    return found
