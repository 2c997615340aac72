"""What code in a simulation cannot have: sockets, processes, threads, files to write to, a thread that sleeps.

They would make a run depend on something else than its seed. Each is refused where it is asked for, by its name. What
was refused ends the simulation, because the code under test may take the refusal for a failure of its own.

A file may be read: what it says is the same in each run.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from romancy.testing.simulating.loop import SimulatedLoop

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["install"]

_EVENTS: Final = {
    "socket.__new__": "a socket",
    "socket.getaddrinfo": "the address of a host",
    "subprocess.Popen": "a process",
    "os.system": "a process",
    "os.posix_spawn": "a process",
    "os.fork": "a process",
    "os.exec": "a process",
}
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install() -> None:
    """Refuse from now on what code on a simulated loop asks for. Call it before the test's modules are imported."""
    sys.addaudithook(_audited)
    time.sleep = _instead_of(time.sleep, "time.sleep", "await asyncio.sleep(…) in an `async def`")
    threading.Thread.start = _instead_of(  # type: ignore[method-assign]
        threading.Thread.start, "a thread", "call the function"
    )


def _simulated() -> SimulatedLoop | None:
    loop = asyncio._get_running_loop()  # noqa: SLF001 - None without a loop
    return loop if isinstance(loop, SimulatedLoop) and loop.is_watched else None


def _audited(event: str, args: tuple[Any, ...]) -> None:
    asked = _EVENTS.get(event)
    if asked is None:
        if event != "open" or not args[2] & _WRITES:
            return
        asked = f"file {args[0]!r}, to write to it"
    loop = _simulated()
    if loop is not None:
        raise loop.refusal(asked, "give the activity an object that stands for the other side")


def _instead_of(function: Callable[..., Any], asked: str, instead: str) -> Any:
    def refusing(*args: Any, **kwargs: Any) -> Any:
        loop = _simulated()
        if loop is not None:
            raise loop.refusal(asked, instead)
        return function(*args, **kwargs)

    return refusing
