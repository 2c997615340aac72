"""Carries out the decisions about events. Each answer is given when the event is durable."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from romancy._headers import bringing, brought
from romancy._logs import get_logger
from romancy.errors import InstanceConflictError, RomancyError, TerminalError
from romancy.handle import Handle
from romancy.http._answers import accepted, answer
from romancy.http._decisions import Answering, Sending, Starting
from romancy.http._refusal import Refused, refusal_of
from romancy.starting.skipping import refuse_if_skipped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.http._decisions import Decision
    from romancy.workflow import Call, Workflow

__all__ = ["Accepting", "serving"]

logger = get_logger("romancy.http")

serving: Final[ContextVar[str]] = ContextVar("serving", default="over HTTP")
"""The route of the request being served, for the log: its method and its path with the names of parameters."""


class Accepting:
    """Writes events to an app. A write that takes longer than `seconds` is answered with 503.

    Such a write may still take effect. The event's identity makes that harmless: the sender sends it again, and the
    second one is recognised.
    """

    def __init__(self, app: Romancy, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def one(self, decision: Decision) -> dict[str, object]:
        """Carry out a decision, in the trace that the event names. Raises Refused."""
        with bringing(decision.trace or brought.get()):
            return await self._one(decision)

    async def _one(self, decision: Decision) -> dict[str, object]:
        match decision:
            case Starting(call, instance_id, _):
                await self._start(call)
                return accepted(instance_id)
            case Answering(handler, event, _):
                return await self.handled(handler(event))
            case Sending(type, data, event):
                sent = await self.in_time(
                    self._app.send(
                        type,
                        data,
                        to=event.instance_id,
                        source=event.source,
                        id=event.id,
                        subject=event.subject,
                        time=event.time,
                        headers=event.headers,
                        extensions=event.extensions,
                    )
                )
                return accepted(event.instance_id, **({"duplicate": True} if sent.duplicate else {}))

    async def _start(self, call: Call[Any]) -> None:
        try:
            await self.in_time(self._app.start_many([call]))
        except Refused as refused:
            if refused.error_type != InstanceConflictError.__name__:
                raise
            told = "an event with this source and id was accepted before, with another type or other data"
            raise Refused(refused.status, told, refused.error_type) from None

    async def all_of(self, decisions: Sequence[Decision]) -> Response:
        """Carry out the decisions of a batch in their order, and answer for each event.

        A refused event does not affect the others. The status is 202 if all were accepted, and otherwise that of a
        refusal. A retryable refusal takes precedence, because the accepted events are recognised when they are sent
        again.
        """
        answers: list[dict[str, object]] = []
        refusals: list[Refused] = []
        for decision in decisions:
            try:
                answers.append(await self.one(decision))
            except Refused as refused:
                answers.append(refused.body)
                refusals.append(refused)
                if refused.retryable:
                    break
        if not refusals:
            return answer({"status": "accepted", "events": answers}, HTTPStatus.ACCEPTED)
        worst = max(refusals, key=lambda refused: refused.retryable)
        return answer({**worst.body, "events": answers}, worst.status, worst.headers)

    async def handled(self, result: Awaitable[object]) -> dict[str, object]:
        """Await the user's handler. Its TerminalError is a 400; any other exception of its own is a 500."""
        try:
            outcome = await result
        except TerminalError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error), type(error).__name__) from None
        except Exception as error:  # noqa: BLE001 - each becomes an answer
            raise self.fault(error) from None
        return accepted(outcome.instance_id if isinstance(outcome, Handle) else None)

    async def in_time(self, write: Awaitable[Any], *, longer: float = 0.0) -> Any:
        """Await a write of the app's, which may take so much longer. Raises Refused."""
        try:
            async with asyncio.timeout(self._seconds + longer):
                return await write
        except Exception as error:  # noqa: BLE001 - each becomes an answer
            raise self.fault(error) from None

    async def decided(self, workflow: Workflow[..., Any], instance_id: str) -> None:
        """Wait for whether the start is skipped, if no worker takes longer to decide. Raises Refused."""
        store = self._app._access.opened("start")  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app waits
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                try:
                    await refuse_if_skipped(store, workflow, instance_id)
                except RomancyError as error:
                    raise self.fault(error) from None

    @staticmethod
    def fault(error: Exception) -> Refused:
        """The answer to an exception. An unexpected one is logged, and its text is not sent."""
        refused = refusal_of(error)
        if refused is None:
            logger.error("the request %s failed", serving.get(), exc_info=error)
            refused = Refused(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "the server failed; its log says why",
                "InternalError",
                retryable=True,
            )
        return refused
