"""Runs plain functions in other processes (CPU-bound activities), with arguments and results as JSON.

The process finds the function by the module and name it was declared under, so it has to be at the top level of a
module. Exceptions come back as data, like results; nothing of the user's is ever pickled. A process runs one function
at a time, so a function that takes too long or is no longer wanted can be killed without affecting others.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import msgspec

from romancy.attempt_context import enter_activity
from romancy.core import own_classes
from romancy.engine.activities.places import Places
from romancy.errors import ActivityError, TerminalError, UsageError
from romancy.serialization import ErrorInfo, describe_exception, exception_name, rebuild_exception

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from multiprocessing.connection import Connection

    from romancy.activity import Activity
    from romancy.attempt_context import ActivityContext

__all__ = ["Processes", "RaisedElsewhereError"]

_SPAWN: Final = multiprocessing.get_context("spawn")
_LONGEST_DEATH: Final = 5.0
_GOOD: Final = b"+"
_BAD: Final = b"-"
_UNKEPT: Final = b"!"
"""Marks an answer of a function that returned a value which cannot be encoded."""
_NO_CALL: Final = b"null"


class RaisedElsewhereError(Exception):
    """An activity raised in its process: `info` for the log, `cause` as the nearest exception for the retry policy.

    `returned`: the function returned, and its result cannot be encoded.
    """

    def __init__(self, info: ErrorInfo, cause: Exception, *, returned: bool) -> None:
        super().__init__(info.message)
        self.info = info
        self.cause = cause
        self.returned = returned


class _Child:
    """One process and the pipe to it. Every method except `kill` blocks and has to run on a thread."""

    def __init__(self) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs,), name="romancy-activity", daemon=True)
        self._process.start()
        theirs.close()
        self.knows: set[tuple[str, str]] = set()
        """The functions that the process has loaded."""

    def ask(self, function: tuple[str, str], args: bytes | None, named: Collection[str] = ()) -> bytes:
        """Call a function, or only load it. Raises ActivityError if the process ended instead of answering.

        An exception of the `named` types comes back with its contents. The names are sent when a function is loaded.
        """
        try:
            call = (*function, None if args is None else msgspec.Raw(args), tuple(named))
            self._pipe.send_bytes(msgspec.json.encode(call))
            return self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise self._gone() from None

    def _gone(self) -> ActivityError:
        self.reap()
        return ActivityError(f"the process it ran in ended with exit code {self._process.exitcode}")

    def reap(self) -> None:
        """Wait for a process that ends, and close its pipe."""
        self._process.join(_LONGEST_DEATH)
        self._pipe.close()

    def kill(self) -> None:
        """Kill the process. A thread that waits for its answer gets ActivityError."""
        self._process.kill()


class Processes:
    """As many processes as the machine has cores, each started when an activity first needs one."""

    def __init__(self, named: Collection[str] = ()) -> None:
        self._named = named
        """Names of the exception types that a workflow can catch by their own class."""
        self._limit = os.cpu_count() or 1
        self.places = Places(self._limit)
        self._threads = ThreadPoolExecutor(self._limit, thread_name_prefix="romancy-process")
        self._all: set[_Child] = set()
        self._idle: list[_Child] = []

    async def call(
        self,
        definition: Activity[..., Any],
        args: bytes,
        killed: Callable[[], None],
        begins: Callable[[float], None] | None = None,
    ) -> bytes:
        """Run the activity's function in a process and return its encoded result. RaisedElsewhereError if it raised.

        `begins` is called with the loop's time once a free process has loaded the function. A cancellation kills that
        process; `killed` is called if the function had begun.
        """
        function = definition.fn.__module__, definition.fn.__qualname__
        async with self.places:
            child = self._idle.pop() if self._idle else await self._new()
            begun = False
            try:
                if function not in child.knows:
                    await self._in_thread(child.ask, function, None, self._named)
                    child.knows.add(function)
                if begins is not None:
                    begins(asyncio.get_running_loop().time())
                begun = True
                answer = await self._answer(child, function, args)
            except BaseException:
                self._all.discard(child)
                child.kill()
                if begun:
                    killed()
                raise
            self._idle.append(child)
        if answer[:1] == _GOOD:
            return answer[1:]
        info = msgspec.json.decode(answer[1:], type=ErrorInfo)
        kinds: tuple[type[Exception], ...] = (TerminalError, *definition.given.raises)
        known = own_classes(info, self._named, definition.fn) | {exception_name(kind): kind for kind in kinds}
        raise RaisedElsewhereError(info, rebuild_exception(info, known), returned=answer[:1] == _UNKEPT)

    async def _answer(self, child: _Child, function: tuple[str, str], args: bytes) -> bytes:
        asked = self._threads.submit(child.ask, function, args)
        try:
            return await asyncio.wrap_future(asked)
        except asyncio.CancelledError:
            if asked.done() and not asked.cancelled():
                return asked.result()  # the answer came at the same moment
            raise

    async def _new(self) -> _Child:
        begun = asyncio.ensure_future(self._in_thread(_Child))
        try:
            child: _Child = await asyncio.shield(begun)
        except asyncio.CancelledError:
            begun.add_done_callback(self._nobody_waits)
            raise
        self._all.add(child)
        return child

    def _nobody_waits(self, begun: asyncio.Future[_Child]) -> None:
        if not begun.cancelled() and begun.exception() is None:
            self._all.add(begun.result())
            self._idle.append(begun.result())

    async def _in_thread(self, work: Any, *args: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def close(self) -> None:
        """Kill all processes."""
        children, self._all = self._all, set()
        for child in children:
            child.kill()
        for child in self._idle:
            child.reap()
        self._idle.clear()
        self._threads.shutdown(wait=False)


def _serve(pipe: Connection) -> None:
    """Answer calls until the pipe closes. Runs in the other process."""
    named: tuple[str, ...] = ()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal signals every process; the parent decides when to stop
    try:
        while True:
            call = msgspec.json.decode(pipe.recv_bytes(), type=tuple[str, str, msgspec.Raw, tuple[str, ...]])
            module, name, args, told = call
            named = told or named
            pipe.send_bytes(_answer(module, name, bytes(args), named))
    except (EOFError, OSError):
        pipe.close()


def _answer(module: str, name: str, args: bytes, errors: Collection[str]) -> bytes:
    raises: tuple[type[Exception], ...] = ()

    def no_context() -> ActivityContext:
        raise UsageError(
            f"{name} runs on a process of its own, which shares nothing with the app: it has no activity_context(). "
            "Pass it what it needs as arguments, or declare it without executor='process'"
        )

    enter_activity(no_context)
    failed = _BAD
    try:
        definition: Any = import_module(module)
        for part in name.split("."):
            definition = getattr(definition, part)
        if args == _NO_CALL:
            return _GOOD
        raises = definition.given.raises
        positional, named = definition.signature.decode_arguments(args)
        value = definition.fn(*positional, **named)
        failed = _UNKEPT
        return _GOOD + bytes(definition.signature.encode_result(value))
    except Exception as error:  # noqa: BLE001 - exceptions of user code are returned as data
        return failed + msgspec.json.encode(describe_exception(error, raises, errors))
