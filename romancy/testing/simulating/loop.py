"""The event loop of a simulated process: asyncio's own, which somebody else turns, and whose time is simulated."""

from __future__ import annotations

import asyncio
import inspect
import sys
import sysconfig
from heapq import heappop
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from romancy.engine.surroundings import Surroundings

__all__ = ["SimulatedLoop"]

_REFUSED: Final = (
    "create_connection", "create_server", "create_unix_connection", "create_unix_server", "create_datagram_endpoint",
    "subprocess_exec", "subprocess_shell", "connect_read_pipe", "connect_write_pipe", "sendfile", "start_tls",
    "sock_recv", "sock_sendall", "sock_connect", "sock_accept", "add_reader", "add_writer", "getaddrinfo",
)  # fmt: skip
_NOT_OF_USERS: Final = (
    str(Path(__file__).parents[2]), *(sysconfig.get_path(each) for each in ("stdlib", "purelib", "platlib")), "<",
)  # fmt: skip


class SimulatedLoop(asyncio.BaseEventLoop):
    """Its turns are asyncio's. Between two of them, any time may pass, or it is never turned again.

    `moved` is called when another loop, or the world, has given it something to do.
    """

    def __init__(self, surroundings: Surroundings, moved: Callable[[], None]) -> None:
        super().__init__()
        self.surroundings = surroundings
        self.errors: list[dict[str, Any]] = []
        """What nobody has caught."""
        self.refused: list[str] = []
        """What its code has asked for and a simulation does not have."""
        self.is_watched = False
        """Whether its code is that of a user, which may ask for anything."""
        self._moved = moved
        self._is_turned = False
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self.surroundings.seconds()

    def turn(self, *, until_idle: bool = False) -> None:
        """Run what is ready now, as one turn of asyncio; `until_idle`: and what becomes ready by that."""
        before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(self._asyncgen_firstiter_hook, self._asyncgen_finalizer_hook)  # type: ignore[attr-defined]
        asyncio._set_running_loop(self)  # noqa: SLF001 - what an event loop does
        self._is_turned = True
        try:
            self._run_once()
            while until_idle and self._ready:  # type: ignore[attr-defined]
                self._run_once()
        finally:
            self._is_turned = False
            asyncio._set_running_loop(None)  # noqa: SLF001
            sys.set_asyncgen_hooks(*before)

    def _run_once(self) -> None:
        """As asyncio does it where no file is waited for, in half the time. `_ready` and `_scheduled` are asyncio's."""
        ready = cast("deque[asyncio.Handle]", self._ready)  # type: ignore[attr-defined]
        scheduled = cast("list[asyncio.TimerHandle]", self._scheduled)  # type: ignore[attr-defined]
        if scheduled:
            now = self.surroundings.seconds()
            while scheduled and scheduled[0].when() <= now:
                ready.append(heappop(scheduled))
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001 - what an event loop does

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is removed when it would be due: nothing counts them."""

    @property
    def is_ready(self) -> bool:
        """Whether the next turn has something to do at once."""
        return bool(self._ready)  # type: ignore[attr-defined]

    @property
    def next_timer(self) -> float | None:
        """When the next timer is due, by this loop's time."""
        scheduled = cast("list[asyncio.TimerHandle]", self._scheduled)  # type: ignore[attr-defined]
        while scheduled and scheduled[0].cancelled():
            heappop(scheduled)
        return scheduled[0].when() if scheduled else None

    def _write_to_self(self) -> None:
        if not self._is_turned:
            self._moved()

    def run_in_executor(  # type: ignore[override]
        self,
        executor: Any,  # noqa: ARG002 - there is one thread
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        """Run the function now."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future

    def refusal(self, asked: str, instead: str) -> UsageError:
        """The error for code that asks for something that a simulation does not have."""
        told = f"{asked}{_asking()}: a simulation does not have it, because the same seed has to give the same run"
        self.refused.append(f"{told}; {instead}")
        return UsageError(self.refused[-1])

    def refuses_to_wait(self, what: str) -> UsageError:
        """The error for a plain function that would wait for this loop, which runs it."""
        return self.refusal(what, "there is one thread, and a plain function cannot wait in it: use an `async def`")

    def __del__(self) -> None:
        """It was never closed: what belongs to a dead process is not cleaned up."""


def _asking() -> str:
    """Where the code of a user asks."""
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_NOT_OF_USERS):
            return f" in {code.co_name} ({Path(code.co_filename).name}, line {frame.f_lineno})"
        frame = frame.f_back
    return ""


def _refusing(name: str) -> Any:
    def refused(self: SimulatedLoop, *_: Any, **__: Any) -> Any:
        raise self.refusal(name, "give the activity an object that stands for the other side")

    return refused


for _name in _REFUSED:
    setattr(SimulatedLoop, _name, _refusing(_name))
