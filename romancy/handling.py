"""Handles the messages of a body while it does something else: each in a task of its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from romancy._outgoing import name_of_event
from romancy.core import Complaint, ContinueAsNew, Topic, mode_of_wait
from romancy.errors import SerializationError, UsageError
from romancy.event import event_of
from romancy.handler import Handler
from romancy.request import RequestHandler, misfit_answered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from romancy.core import Commands, Message, MessageReceived, WaitAnswer

__all__ = ["Handling", "all_handled"]

_HAS_FAILED: Final = "a handler of messages has failed"
_ASYNC_WITH: Final = (
    "ctx.handling(…) is a block: write `async with ctx.handling(Add.by(add)):`, and what is done meanwhile in it"
)


class Handling:
    """`async with ctx.handling(…)`: while the block runs, each message of these kinds is handled in a task of its own.

    Messages are begun in the order in which they came, also those of different kinds. The end of the block waits for
    the handlers that are at work. A message that comes later is kept, as one for which no body waits. A handler of
    events that raises an error ends the block with it, as a task of a TaskGroup does. What a handler of requests
    returns or raises is the answer.
    """

    __slots__ = ("_body", "_busy", "_closed", "_commands", "_failed", "_handlers", "_others", "_stopped", "_waits")

    def __init__(self, commands: Commands, others: list[Handling], handlers: Sequence[Handler[Any]]) -> None:
        self._commands = commands
        self._others = others
        """All handlings of the body that are open."""
        self._handlers = {_topic_of(handler): handler for handler in _checked(handlers)}
        self._waits: dict[Topic, WaitAnswer] = {}
        self._busy: dict[asyncio.Task[Any], tuple[Handler[Any], Message]] = {}
        """The handlers that are at work, each with its message."""
        self._body: asyncio.Task[Any] | None = None
        self._closed = False
        self._stopped = False
        self._failed: BaseException | None = None

    def is_at_work(self, task: asyncio.Task[Any] | None = None) -> bool:
        """Whether this task, or any, is a handler that is at work."""
        return bool(self._busy) if task is None else task in self._busy

    async def __aenter__(self) -> None:
        for other in self._others:
            for topic in self._handlers.keys() & other._handlers.keys():  # noqa: SLF001 - of the same class
                raise _two(topic, other._handlers[topic], self._handlers[topic])  # noqa: SLF001
        self._body = asyncio.current_task()
        self._others.append(self)
        for topic in self._handlers:
            self._wait(topic)

    if not TYPE_CHECKING:  # what people write instead of `async with`

        def __enter__(self) -> None:
            raise UsageError(_ASYNC_WITH)

        def __exit__(self, *_: object) -> None: ...

        def __await__(self) -> Any:
            raise UsageError(_ASYNC_WITH)

    # ── messages ────────────────────────────────────────────────────────────────────────────────────────────────

    def _wait(self, topic: Topic) -> None:
        handler = self._handlers[topic]
        judge = handler.judge() if isinstance(handler, RequestHandler) else None
        self._hear(topic, self._commands.wait(topic, mode_of_wait(topic), in_turn=True, judge=judge))

    def _hear(self, topic: Topic, wait: WaitAnswer) -> None:
        self._waits[topic] = wait
        wait.add_done_callback(lambda _: self._received(topic, wait))

    def _received(self, topic: Topic, wait: WaitAnswer) -> None:
        """Wait for the next message, and handle this one."""
        if wait.cancelled() or self._waits.get(topic) is not wait:
            return
        del self._waits[topic]
        received: MessageReceived = wait.result()
        handler = self._handlers[topic]
        try:
            data = event_of(received.message, received.at, handler.data).data
        except SerializationError as misfit:
            self._put_aside(topic, wait, received, misfit)
            return
        if not self._closed:
            self._wait(topic)
        task = asyncio.get_running_loop().create_task(handler.handle(data), name=f"handler of {topic.name}")
        self._busy[task] = handler, received.message
        task.add_done_callback(self._handled)

    def _put_aside(self, topic: Topic, wait: WaitAnswer, received: MessageReceived, misfit: SerializationError) -> None:
        if topic.kind == "request":
            misfit_answered(self._commands, received.message, misfit)
            if not self._closed:
                self._wait(topic)
            return
        again = self._commands.wait_on(wait, received.message, str(misfit))
        if again is None:
            self._fail(misfit)
        elif self._closed:
            again.cancel()
        else:
            self._hear(topic, again)

    def _handled(self, task: asyncio.Task[Any]) -> None:
        handler, message = self._busy.pop(task)
        if isinstance(handler, RequestHandler):
            error = handler.answer(self._commands, message, task)
        else:
            error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End the block with the error."""
        if self._failed is None:
            self._failed = error
            if self._closed:
                self._stop()
            elif self._body is not None:
                self._body.cancel(_HAS_FAILED)

    # ── the end of the block ────────────────────────────────────────────────────────────────────────────────────

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stops_body = self._failed is not None
        self._close()
        if isinstance(error, ContinueAsNew):
            self._complain_of_the_busy()
        elif error is not None or stops_body:
            self._stop()
        stopped = await self._all_ended()
        if stops_body and await self._was_also_stopped(error):
            raise asyncio.CancelledError from self._failed
        self._others.remove(self)
        if self._failed is not None and (error is None or isinstance(error, asyncio.CancelledError)):
            raise self._failed
        if stopped is not None:
            raise stopped

    def _close(self) -> None:
        """Wait for no more messages. One that has come already is handled."""
        self._closed = True
        for topic, wait in list(self._waits.items()):
            if wait.done():
                self._received(topic, wait)
            else:
                del self._waits[topic]
                wait.cancel()

    def _stop(self) -> None:
        """Cancel the handlers that are at work, once: what they do then is not interrupted."""
        if not self._stopped:
            self._stopped = True
            for task in list(self._busy):
                task.cancel()

    async def _all_ended(self) -> asyncio.CancelledError | None:
        """Wait for the handlers that are at work. If the body is cancelled meanwhile, so are they."""
        stopped = None
        while self._busy:
            try:
                await asyncio.wait(list(self._busy))
            except asyncio.CancelledError as error:
                stopped = error
                self._stop()
        return stopped

    async def _was_also_stopped(self, error: BaseException | None) -> bool:
        """Take back the cancellation that has ended the block. True: somebody else has cancelled the body as well."""
        assert self._body is not None  # noqa: S101 - only a block that was entered has failed
        if error is None:  # the block has ended before it met the cancellation
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        return self._body.uncancel() > 0

    def _complain_of_the_busy(self) -> None:
        """What a handler changes after `recur` has taken the input of the next run is not in it."""
        if self._busy and not self._commands.replaying:
            said = (
                f"the body went on with a new run while {len(self._busy)} of its handlers were at work: what they "
                "change is not in its input. `await ctx.all_handled()` before `recur`"
            )
            self._commands.loop.complaints += (Complaint(said, said),)


async def all_handled(commands: Commands, handlings: Sequence[Handling]) -> None:
    """Wait until no handler of the body is at work."""
    if any(handling.is_at_work(asyncio.current_task()) for handling in handlings):
        raise UsageError("a handler has called ctx.all_handled(), which would wait for the handler itself")
    await commands.until(lambda: not any(handling.is_at_work() for handling in handlings))


def _topic_of(handler: Handler[Any]) -> Topic:
    return Topic(name_of_event(handler.name), handler.key, handler.kind)


def _checked(handlers: Sequence[Handler[Any]]) -> Sequence[Handler[Any]]:
    """The handlers. Raises UsageError for what is none, and for two of one kind."""
    if not handlers:
        raise UsageError("ctx.handling() has no handler: give it some, as in `ctx.handling(Add.by(add))`")
    of: dict[Topic, Handler[Any]] = {}
    for handler in handlers:
        if not isinstance(handler, Handler):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"ctx.handling takes handlers, as `Add.by(add)` makes them, not {handler!r:.100}")
        topic = _topic_of(handler)
        if topic in of:
            raise _two(topic, of[topic], handler)
        of[topic] = handler
    return handlers


def _two(topic: Topic, one: Handler[Any], other: Handler[Any]) -> UsageError:
    return UsageError(f"{topic.words} has two handlers: {one!r} and {other!r}")
