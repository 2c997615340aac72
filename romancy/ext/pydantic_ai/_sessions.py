"""The sessions with MCP servers. They belong to the worker: its steps share them, and bodies never have one.

A task of its own enters and leaves each toolset, because a session has to end in the task that began it, and no step
lives as long. The worker's app closes them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic_ai.durable_exec import ToolsetGetToolsId

from romancy.depends import Depends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
    from contextvars import Context

    from pydantic_ai.durable_exec import DurableOperationId
    from pydantic_ai.mcp import MCPToolset

__all__ = ["Sessions", "in_session"]

logger = logging.getLogger("romancy.ext.pydantic_ai")

_IDLE: Final = 300.0
"""How many seconds a session stays open without a call."""
_MOST_AT_REST: Final = 32
"""So many sessions stay open without a call. A body that makes its own toolset begins one with each replay."""
_RESTED: Final = 1.0
"""After so many seconds without an answer, a session is asked whether its server is still there."""
_ANSWERS_WITHIN: Final = 5.0
_NO_SUCH_METHOD: Final = -32601
"""The answer of a server that knows no ping, as those without a handshake: it is there all the same."""


class Sessions:
    """The sessions of one worker, one for each toolset that its steps use."""

    def __init__(self) -> None:
        self._open: dict[int, Session] = {}
        self._at_rest: dict[Session, None] = {}
        """Those without a call, the longest at rest first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = copy_context()

    @asynccontextmanager
    async def of(self, toolset: MCPToolset[Any]) -> AsyncGenerator[Session]:
        """A session with the server, open as long as the block lasts. Other calls may use it as well."""
        session = self._open.get(id(toolset))
        if session is not None and await session.is_lost():
            session.leave()
        session = self._open.get(id(toolset))  # another call may have begun one meanwhile
        if session is None or session.is_left:
            session = self._begin(toolset)
        self._at_rest.pop(session, None)
        try:
            async with session.used():
                yield session
        finally:
            if not (session.calls or session.is_left):
                self._rest(session)

    async def close(self) -> None:
        """Leave all sessions, and return once they have ended."""
        for session in self._open.values():
            session.leave()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, toolset: MCPToolset[Any]) -> Session:
        session = Session(toolset, self._context.copy())
        self._open[id(toolset)] = session
        self._tasks.add(session.task)
        session.task.add_done_callback(partial(self._ended, session))
        return session

    def _rest(self, session: Session) -> None:
        self._at_rest[session] = None
        if len(self._at_rest) > _MOST_AT_REST:
            longest = next(iter(self._at_rest))
            del self._at_rest[longest]
            longest.leave()

    def _ended(self, session: Session, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._at_rest.pop(session, None)
        if self._open.get(id(session.toolset)) is session:
            del self._open[id(session.toolset)]


class Session:
    """A toolset that a task keeps entered, until no call has come for a while or its server is gone."""

    def __init__(self, toolset: MCPToolset[Any], context: Context) -> None:
        self.toolset = toolset
        self._loop = asyncio.get_running_loop()
        self._begun: asyncio.Future[None] = self._loop.create_future()
        self._leaving = asyncio.Event()
        self._asking = asyncio.Lock()
        self.calls = 0
        """How many use it now."""
        self._answered = 0.0
        """When the server has answered last, by the loop's clock. After a failed call: long ago."""
        self._timer: asyncio.TimerHandle | None = None
        self.task = self._loop.create_task(self._keep(), context=context)

    @property
    def is_left(self) -> bool:
        """Whether no further call may use it."""
        return self._leaving.is_set()

    def leave(self) -> None:
        """Let the session end when the last of its calls has."""
        self._leaving.set()

    def doubt(self) -> None:
        """A call failed, perhaps because the server is gone: ask it before the next call."""
        self._answered = -math.inf

    @asynccontextmanager
    async def used(self) -> AsyncGenerator[None]:
        """Wait until the session is open, and keep it so. Raises what its beginning has failed with."""
        self.calls += 1
        if self._timer is not None:
            self._timer.cancel()
        try:
            await asyncio.shield(self._begun)
            yield
            self._answered = self._loop.time()
        except Exception:
            self.doubt()
            raise
        finally:
            self.calls -= 1
            if self.calls == 0:
                self._rest()

    async def is_lost(self) -> bool:
        """Whether the server no longer answers. It is asked only after a rest and after a failed call."""
        async with self._asking:
            if self.calls or self.is_left or self._loop.time() - self._answered < _RESTED:
                return False
            if await _answers(self.toolset):
                self._answered = self._loop.time()
                return False
            return True

    async def _keep(self) -> None:
        """Enter the toolset, and leave it when the session is to end."""
        try:
            await self.toolset.__aenter__()
        except Exception as error:  # noqa: BLE001 - each step that waits for it raises it
            self._leaving.set()
            self._begun.set_exception(error)
            self._begun.exception()  # perhaps nobody waits any more
            return
        except BaseException:
            self._leaving.set()
            self._begun.cancel()
            raise
        self._answered = self._loop.time()
        self._begun.set_result(None)
        try:
            await self._leaving.wait()
        finally:
            try:
                await self.toolset.__aexit__(None, None, None)
            except Exception as error:  # noqa: BLE001 - the session is over either way
                logger.debug("the session with %s did not end cleanly: %r", self.toolset.label, error)

    def _rest(self) -> None:
        if not self._begun.done():  # the last call that waited for the server has given up
            self._leaving.set()
            self.task.cancel()
        elif not self.is_left:
            self._timer = self._loop.call_later(_IDLE, self.leave)


async def _answers(toolset: MCPToolset[Any]) -> bool:
    """Whether the server of an open session answers anything at all."""
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN):
            await toolset.client.ping()
    except Exception as error:  # noqa: BLE001 - a transport raises errors of its own
        return _code_of(error) == _NO_SUCH_METHOD
    return True


def _code_of(error: Exception) -> object:
    """The number of an error that a server answered with."""
    return getattr(getattr(error, "error", error), "code", None)


async def sessions_of_worker() -> AsyncGenerator[Sessions]:
    """The sessions of the worker's app, for a step to depend on."""
    sessions = Sessions()
    try:
        yield sessions
    finally:
        await sessions.close()


def in_session(
    toolset: MCPToolset[Any], operation_id: DurableOperationId, attempt: Callable[[], Awaitable[Any]]
) -> Callable[[], Coroutine[Any, Any, Any]]:
    """The function of a step that makes this call in a session of its worker."""

    async def asks(*, sessions: Sessions = Depends(sessions_of_worker)) -> Any:
        async with sessions.of(toolset) as session:
            if isinstance(operation_id, ToolsetGetToolsId):  # each run sees the tools that there are now
                toolset._invalidate_tools_cache()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            answer: object = await attempt()
        match answer:
            case {"kind": "model_retry" | "tool_failed"}:  # so it says too if the connection broke
                session.doubt()
            case _:
                pass
        return answer

    return asks
