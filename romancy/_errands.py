"""What an app does for the bodies that it runs: it brings their calls to other instances.

Each method runs in an attempt at an activity of `romancy.other_instance`, and acts as the app does for a program.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from msgspec import Raw
from msgspec.structs import replace

from romancy.attempt_context import activity_port, gives_slot, key_of_this_run
from romancy.engine import row_of
from romancy.errors import RequestError, RequestFailedError, UsageError, WorkflowFailedError, WorkflowStuckError
from romancy.handle import result_in
from romancy.managing.reports import stored_report
from romancy.messages.requests import asked, is_new

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from romancy._access import Access
    from romancy._followed import Followed
    from romancy.core import Message
    from romancy.messages.mailer import Mailer
    from romancy.messages.requests import Asked

    Ask: TypeAlias = Callable[[Message, Any], Awaitable[Asked[Any]]]
    AskEntity: TypeAlias = Callable[[str, str, str, Message, Any], Awaitable[Asked[Any]]]

__all__ = ["AppErrands"]

T = TypeVar("T")

_LOOKS_AGAIN: Final = 5.0
"""Seconds until a wait for a stuck instance looks whether it goes on."""


class AppErrands:
    """The errands that one app runs for bodies."""

    def __init__(self, app: Followed, access: Access, mailer: Mailer, ask_entity: AskEntity) -> None:
        self._app = app
        self._access = access
        self._mailer = mailer
        self._ask_entity = ask_entity

    async def ask(self, to: str, request: Message) -> Raw:
        """The reply to the request, which is sent once."""
        return await self._run(self._ask(to, request))

    async def call(self, workflow: str, key: str, to: str, request: Message) -> Raw:
        """What the method of an entity returned, which is called once. The first call begins the entity."""
        return await self._run(self._answer(partial(self._ask_entity, workflow, key, to), request))

    async def _ask(self, to: str, request: Message) -> Raw:
        return await self._answer(partial(asked, self._mailer, to), request)

    @staticmethod
    async def _answer(ask: Ask, request: Message) -> Raw:
        context, _ = activity_port()
        key, own = context.idempotency_key, key_of_this_run(context)
        made = await ask(replace(request, id=key), Raw)
        try:
            reply: Raw = await made.reply()
        except RequestError:
            if is_new(made) or own == key:
                raise
            # A former run of the body has asked, and failed with the answer: the retry asks anew.
            made = await ask(replace(request, id=own), Raw)
            reply = await made.reply()
        return reply

    async def send(self, to: str, event: Message) -> None:
        """Send the event, once."""
        if not event.id:
            event = replace(event, id=activity_port()[0].idempotency_key)
        await self._run(self._mailer.send(event, to, what="send"))

    async def cancel(self, to: str, reason: str) -> bool:
        return await self._run(self._app.cancel(to, reason=reason))

    async def result(self, of: str, workflow: str = "") -> Raw:
        """What the instance returned. While it is stuck, the wait goes on. Without a name, of any workflow."""
        return await self._run(self._result(of, workflow))

    async def _result(self, of: str, workflow: str) -> Raw:
        if workflow and (other := (await row_of(self._access.opened(), of)).workflow_name) != workflow:
            raise UsageError(
                f"instance {of} is of workflow {other}, and its result is asked for as that of {workflow}: give "
                "`result` the workflow that the instance has, or none"
            )
        while True:
            watch = self._app.watch(of)
            try:
                outcome = await self._app.end_of(of, watch, watch.recorded)
            except WorkflowStuckError:
                with _resting():
                    await asyncio.sleep(_LOOKS_AGAIN)
                continue
            return result_in(outcome, of, self._app.error_names, self.result)

    async def report(self, of: str) -> Raw:
        return await self._run(self._report(of))

    async def _report(self, of: str) -> Raw:
        return await stored_report(self._access.opened(), of)

    async def status(self, of: str) -> str:
        return await self._run(self._status(of))

    async def _status(self, of: str) -> str:
        return (await row_of(self._access.opened(), of)).status

    async def _run(self, errand: Awaitable[T]) -> T:
        """Carry it out. It gives its slot back while it waits, and ends with the worker if the app is closed."""
        gives_slot.set(activity_port()[1].resting)
        try:
            return await errand
        except UsageError:
            if self._access.store is not None:
                raise
        except (RequestFailedError, WorkflowFailedError) as failed:
            failed.trace = ""  # the body reads it from the cause
            if isinstance(failed, WorkflowFailedError):
                failed.chain = ()
            raise
        ends: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with _resting():
            return await ends


def _resting() -> AbstractContextManager[object]:
    return activity_port()[1].resting()
