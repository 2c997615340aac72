"""Activities that need a core of their own: plain functions run in other processes, arguments and results as JSON.

The function is found by the module and name it was declared under, so it has to live at the top of a module. What
it raises comes back as data, like everything else about it; nothing of the user's is ever pickled.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from romancy.errors import TerminalError
from romancy.serialization import ErrorInfo, describe_exception, exception_name, rebuild_exception

if TYPE_CHECKING:
    from romancy.activity import Activity

__all__ = ["Processes", "RaisedElsewhereError"]


class RaisedElsewhereError(Exception):
    """An activity raised in its process: what the log keeps of it, and the nearest thing to it for the policy."""

    def __init__(self, info: ErrorInfo, cause: Exception) -> None:
        super().__init__(info.message)
        self.info = info
        self.cause = cause


class Processes:
    """A pool of processes, started when the first activity needs one."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def call(self, definition: Activity[..., Any], args: bytes) -> bytes:
        """Run the activity's function elsewhere; its result as it is stored. RaisedElsewhereError if it raised.

        A process that dies takes the pool with it: the next call gets a new one.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))
        fn = definition.fn
        loop = asyncio.get_running_loop()
        try:
            succeeded, answer = await loop.run_in_executor(self._pool, _run, fn.__module__, fn.__qualname__, args)
        except BrokenExecutor:
            self.close()
            raise
        if succeeded:
            return answer
        info = msgspec.json.decode(answer, type=ErrorInfo)
        kinds: tuple[type[Exception], ...] = (TerminalError, *definition.raises)
        known = {exception_name(kind): kind for kind in kinds}
        raise RaisedElsewhereError(info, rebuild_exception(info, known))

    def close(self) -> None:
        """Let go of the processes; what still runs there is not waited for."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def _run(module: str, name: str, args: bytes) -> tuple[bool, bytes]:
    definition: Any = import_module(module)
    for part in name.split("."):
        definition = getattr(definition, part)
    try:
        positional, named = definition.signature.decode_arguments(args)
        return True, bytes(definition.signature.encode_result(definition.fn(*positional, **named)))
    except Exception as error:  # noqa: BLE001 - whatever user code raises is told as data
        return False, msgspec.json.encode(describe_exception(error, definition.raises))
