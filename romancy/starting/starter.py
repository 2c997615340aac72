"""Starts instances for one open app: prepares calls, submits them, and does what `if_exists` says of a taken id."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from romancy._outgoing import signal_message
from romancy.engine import refuse_to_wait
from romancy.engine.announcing import given
from romancy.errors import InstanceConflictError, RomancyError, UsageError
from romancy.handle import Handle
from romancy.registry import refuse_another
from romancy.starting.by_signal import Beginning, start_or_signal
from romancy.starting.checks import check_call, new_id
from romancy.starting.many import AT_ONCE, all_of
from romancy.starting.renewing import RENEWS
from romancy.starting.submissions import PreparedStart, Submissions, SubmittedStart
from romancy.starting.taken import TakenId
from romancy.storage.limits import check_id
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy._access import Access
    from romancy.app import Romancy
    from romancy.engine import Asked, LogWriter
    from romancy.event import EventType
    from romancy.messages.mailer import Mailer
    from romancy.registry import Registry
    from romancy.results.watch import Watches
    from romancy.starting.checks import IfExists
    from romancy.storage.protocol import Store
    from romancy.workflow import Call

__all__ = ["Starter"]

T = TypeVar("T")


class Starter:
    """Starts instances. Its calls get the store from the app, which has checked that it is open."""

    def __init__(
        self,
        app: Romancy,
        access: Access,
        registry: Registry,
        writer: LogWriter,
        mailer: Mailer,
        watches: Watches,
    ) -> None:
        self._app = app
        """The app of the handles."""
        self._access = access
        self._registry = registry
        self.writer = writer
        self._mailer = mailer
        self._watches = watches
        self._submissions = Submissions(access, registry, writer)

    async def start(
        self, store: Store, calls: Iterable[Call[T]], session: object, if_exists: IfExists
    ) -> list[Handle[T]]:
        """As `Romancy.start_many` promises."""
        if session is None and await self._submissions.turn():
            store = self._access.opened()
        prepared: list[PreparedStart[T]] = []
        for call in calls:
            prepared.append(self._prepare(call))
            if len(prepared) % AT_ONCE == 0:
                await self._submissions.whole_turn()
                store = self._access.opened()
        if session is not None:
            with self._access.deadlines.call("start", joined=True):
                begun = (self._start_in(session, if_exists, one) for one in prepared)
                return await all_of(begun, InstanceConflictError)
        refuse_to_wait(store, "start", [one.handle.instance_id for one in prepared])
        submitted: list[SubmittedStart[T]] = []
        with self._access.deadlines.call("start") as timed:
            try:
                await self._submissions.submit(prepared, submitted, timed.renew)
                parts = timed.renewing(submitted)
                return await all_of((self._started(if_exists, *one) for one in parts), RomancyError)
            except asyncio.CancelledError:
                timed.instance_ids = self._submissions.give_up(submitted) or None
                raise

    async def start_or_signal(
        self,
        store: Store,
        call: Call[T],
        event: EventType[Any] | str,
        data: object,
        *,
        key: str | None,
        id: str | None,
        if_exists: IfExists,
    ) -> Handle[T]:
        """As `Romancy.signal_with_start` promises."""
        if if_exists in ("refuse", "replace"):
            raise UsageError(f"signal_with_start signals an existing instance: if_exists={if_exists!r} is for start")
        if await self._submissions.turn():
            store = self._access.opened()
        start = self._prepare(call)
        handle = start.handle
        instance_id = handle.instance_id
        refuse_to_wait(store, "signal_with_start", [instance_id])
        plain = signal_message(instance_id, event, data, key, id, self._access.stored_size)
        message, sending = self._mailer.announced(plain, instance_id)
        makes_way = RENEWS.get(if_exists, frozenset())
        begin = Beginning(start.workflow, start.raw, start.delay, instance_id, message, makes_way)
        with self._access.deadlines.call("signal", [instance_id], message_id=id):
            started = await start_or_signal(store, begin, plain, self._mailer, self._watches)
        if started:
            self._written(start)
            self._mailer.tell_sent(sending)
        self._access.stir()
        return handle

    def refuse(self) -> None:
        """Fail all callers that wait to begin a start: the app is being closed."""
        self._submissions.refuse()

    def close(self) -> None:
        """Fail all waiting callers: no answer will come."""
        self._submissions.close()

    def _prepare(self, call: Call[T]) -> PreparedStart[T]:
        """Check a call, ask hooks about it, and make the handle, which from now on hears of the end."""
        check_call(call)
        definition = call.workflow
        ours = self._registry.workflows.get(definition.name)
        if ours is not None and ours.signature is not definition.signature:
            refuse_another(ours, definition)
        raw = call.encode(self._access.stored_size)
        instance_id, chosen = definition.instance_id, definition.instance_id is not None
        if instance_id is None:
            instance_id = new_id()
            watch = self._watches.new(instance_id)
        else:
            check_id(instance_id)
            watch = self._watches.of_start(instance_id)
        headers, sending = given(definition.headers), None
        if (announcer := self._mailer.announcer) is not None:
            sending = announcer.sending("start", definition.name, instance_id, headers)
            headers = sending.headers
        if headers is not definition.headers:
            definition = definition.options(headers=headers)
        handle = Handle(self._app, instance_id, definition, watch)
        return PreparedStart(handle, definition, raw, round(definition.delay * 1_000_000), chosen, sending)

    async def _start_in(self, session: object, if_exists: IfExists, start: PreparedStart[T]) -> Handle[T]:
        if await self._wanted(start).start_in(session, if_exists):
            self._written(start)
        return start.handle

    async def _started(self, if_exists: IfExists, start: PreparedStart[T], asked: Asked) -> Handle[T]:
        outcome = await asked.answer
        if outcome is Outcome.INVALID:
            raise self.writer.refusal(start.handle.instance_id)
        if outcome is Outcome.ACCEPTED or await self._wanted(start).judge(outcome, if_exists):
            self._written(start)
        return start.handle

    def _wanted(self, start: PreparedStart[Any]) -> TakenId:
        return TakenId(self._access, self._watches, start)

    def _written(self, start: PreparedStart[Any]) -> None:
        """Tell hooks that the database has the start."""
        if start.sending is not None:
            self._mailer.tell_sent(start.sending)
