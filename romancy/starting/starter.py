"""Starts instances for one open app: prepares calls, submits them, and does what `if_exists` says of a taken id."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec.structs import replace

from romancy._outgoing import signal_message
from romancy._start_options import check_no_child
from romancy.engine import new_life, refuse_to_wait
from romancy.engine.announcing import given as given_headers
from romancy.errors import (
    InstanceConflictError,
    InstanceEndedError,
    InstanceNotFoundError,
    RomancyError,
    UsageError,
)
from romancy.handle import Handle
from romancy.messages.requests import asked_before, asked_now, request_message
from romancy.registry import refuse_another
from romancy.request import types_of_request
from romancy.starting.by_signal import Beginning, start_or_signal
from romancy.starting.checks import check_call, new_id
from romancy.starting.many import AT_ONCE, all_of
from romancy.starting.renewing import RENEWS
from romancy.starting.skipping import refuse_if_skipped
from romancy.starting.start import Start
from romancy.starting.submissions import Submissions
from romancy.starting.taken import TakenId
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.limits import check_id
from romancy.storage.records import Delivered, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy._access import Access
    from romancy._followed import Followed
    from romancy.core import Message
    from romancy.engine import LogWriter
    from romancy.event import EventType
    from romancy.messages.mailer import Mailer
    from romancy.messages.requests import Asked
    from romancy.registry import Registry
    from romancy.request import RequestType
    from romancy.results.watch import Watches
    from romancy.starting.checks import IfExists
    from romancy.storage.protocol import Store
    from romancy.workflow import Call, Workflow

__all__ = ["Starter"]

T = TypeVar("T")
_ACCEPTED: Final = Outcome.ACCEPTED
"""Python 3.11 calls a function for each `Outcome.ACCEPTED`."""


class Starter:
    """Starts instances. Its calls get the store from the app, which has checked that it is open."""

    def __init__(
        self,
        app: Followed,
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
        self._submissions = Submissions(access, registry, writer, self._prepare)

    async def start(
        self, workflow: Workflow[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], if_exists: IfExists
    ) -> Handle[T]:
        """As `Romancy.start` promises."""
        start = Start(self._submissions, workflow, args, kwargs)
        self._submissions.ask(start)
        try:
            outcome = await start.answer
        except asyncio.CancelledError:
            self._submissions.give_up([start])
            raise
        if outcome is not _ACCEPTED:
            with self._access.deadlines.call("start", [start.instance_id]):
                await self._started(start, if_exists)
        elif start.sending is not None:
            self._mailer.tell_sent(start.sending)
        if start.workflow.skips:
            await refuse_if_skipped(self._access.opened("start"), start.workflow, start.instance_id)
        return start.handle

    async def start_many(
        self, store: Store, calls: Iterable[Call[T]], session: object, if_exists: IfExists
    ) -> list[Handle[T]]:
        """As `Romancy.start_many` promises."""
        if session is None:
            await self._submissions.turn()
            store = self._access.opened()
        starts: list[Start[T]] = []
        for call in calls:
            starts.append(self._checked(call))
            if len(starts) % AT_ONCE == 0:
                await self._submissions.turn(AT_ONCE)
                store = self._access.opened()
        if session is not None:
            with self._access.deadlines.call("start", joined=True):
                begun = (self._start_in(session, if_exists, one) for one in starts)
                return await all_of(begun, InstanceConflictError)
        refuse_to_wait(store, "start", [one.instance_id for one in starts])
        with self._access.deadlines.call("start") as timed:
            try:
                await self._submissions.ask_for_all(starts, timed.renew)
                return await all_of((self._started(one, if_exists) for one in timed.renewing(starts)), RomancyError)
            except asyncio.CancelledError:
                timed.instance_ids = self._submissions.give_up(starts) or None
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
        _refuse_for_a_message("signal_with_start signals", if_exists)
        await self._submissions.turn()
        store, start = self._access.opened(), self._checked(call)
        refuse_to_wait(store, "signal_with_start", [start.instance_id])
        plain = signal_message(start.instance_id, event, data, key, id, self._access.stored_size)
        sent = await self._begin_with(store, start, plain, RENEWS.get(if_exists, frozenset()))
        if sent is None and start.workflow.skips:
            await refuse_if_skipped(store, start.workflow, start.instance_id)
        return start.handle

    async def start_or_ask(
        self,
        store: Store,
        call: Call[Any],
        type: RequestType[Any, Any] | str,
        data: object,
        *,
        id: str | None,
        if_exists: IfExists,
    ) -> Asked[Any]:
        """As `Romancy.ask_with_start` promises."""
        _refuse_for_a_message("ask_with_start asks", if_exists)
        await self._submissions.turn()
        store, start = self._access.opened(), self._checked(call)
        refuse_to_wait(store, "ask_with_start", [start.instance_id])
        plain = request_message(start.instance_id, type, data, id, self._access.stored_size)
        makes_way = RENEWS.get(if_exists, frozenset())
        return await self._ask(store, start, plain, types_of_request(type)[1], makes_way)

    async def ask_entity(self, call: Call[Any], request: Message, declared: Any) -> Asked[Any]:
        """Call an entity, and begin it first if it is not there or was destroyed.

        Raises InstanceEndedError if it has ended otherwise, and InstanceConflictError if its id is another workflow's.
        """
        store, instance_id = self._access.opened("entity"), call.workflow.instance_id or ""
        refuse_to_wait(store, "entity", [instance_id])
        found = await store.read(instance_id, limit=0)
        row = None if found is None else found.instance
        if row is not None and row.workflow_name == call.workflow.name and row.status not in TERMINAL_STATUSES:
            with suppress(InstanceNotFoundError, InstanceEndedError):  # it has ended meanwhile: below is said how
                return await asked_now(self._mailer, request, declared, row)
        await self._submissions.turn()
        store, start = self._access.opened("entity"), self._checked(call)
        return await self._ask(store, start, request, declared, frozenset({Status.COMPLETED}))

    async def _ask(
        self, store: Store, start: Start[Any], request: Message, declared: Any, makes_way: frozenset[Status]
    ) -> Asked[Any]:
        """Ask an instance, and start it with the request if it is not there or makes way."""
        instance_id, chosen = start.instance_id, bool(request.id)
        plain = request if chosen else replace(request, id=new_id())
        before = await store.read(instance_id, limit=0)
        known = chosen and before is not None and before.instance.workflow_name == start.workflow.name
        ended = before is not None and before.instance.status in TERMINAL_STATUSES - makes_way
        new = not (known and ended)
        if new:
            sent = await self._begin_with(store, start, plain, makes_way)
            if sent is None and start.workflow.skips:
                await refuse_if_skipped(store, start.workflow, instance_id)
            new = sent in (None, Delivered.ACCEPTED)
        return await asked_before(self._access, plain, instance_id, declared, before if new else None)

    async def start_or_tell(self, call: Call[Any], message: Message, what: str) -> None:
        """Send a message to an instance. If it does not exist or has ended, start it with the message in its inbox.

        `what` makes this call. An ended instance that has received this very message is left as it is.
        """
        await self._submissions.turn()
        store, start = self._access.opened(what), self._checked(call)
        refuse_to_wait(store, what, [start.instance_id])
        await self._begin_with(store, start, message, RENEWS["restart_ended"])

    async def _begin_with(
        self, store: Store, start: Start[Any], plain: Message, makes_way: frozenset[Status]
    ) -> Delivered | None:
        """Send the message (the database's answer), or start the instance with it (None)."""
        instance_id, chosen = start.instance_id, plain.id or None
        message, sending = self._mailer.announced(plain, instance_id)
        begin = Beginning(start.workflow, start.input, instance_id, message, makes_way)
        with self._access.deadlines.call("signal", [instance_id], message_id=chosen):
            sent = await start_or_signal(store, begin, plain, self._mailer, self._watches)
        if sent is None:
            self._written(start)
            self._mailer.tell_sent(sending)
        self._access.stir()
        return sent

    def refuse(self) -> None:
        """Fail all callers that wait to begin a start: the app is being closed."""
        self._submissions.refuse()

    def close(self) -> None:
        """Fail all waiting callers: no answer will come."""
        self._submissions.close()

    def _checked(self, call: Call[T]) -> Start[T]:
        """One start of several, or one that another call makes."""
        check_call(call)
        start = Start(self._submissions, call.workflow, call.args, call.kwargs)
        self._prepare(start)
        return start

    def _prepare(self, start: Start[T]) -> None:
        """Check a call, ask hooks about it, and make the handle, which from now on hears of the end."""
        definition = start.workflow
        ours = self._registry.workflows.get(definition.name)
        if ours is not None and ours.signature is not definition.signature:
            refuse_another(ours, definition)
        if definition.given.detached:
            check_no_child(definition.given, definition.name)
        start.input = definition.encode(start.args, start.kwargs, self._access.stored_size)
        instance_id = definition.given.instance_id
        start.chosen = instance_id is not None
        if instance_id is None:
            instance_id = new_id()
            watch = self._watches.new(instance_id)
        else:
            check_id(instance_id)
            watch = self._watches.of_start(instance_id)
        start.instance_id, start.life = instance_id, new_life(instance_id)
        headers = given_headers(definition.given.headers)
        if (announcer := self._mailer.announcer) is not None:
            start.sending = announcer.sending("start", definition.name, instance_id, headers)
            headers = start.sending.headers
        if headers is not definition.given.headers:
            start.workflow = definition = definition.options(headers=headers)
        start.handle = Handle(self._app, instance_id, definition, watch)

    async def _start_in(self, session: object, if_exists: IfExists, start: Start[T]) -> Handle[T]:
        if await self._wanted(start).start_in(session, if_exists):
            self._written(start)
        return start.handle

    async def _started(self, start: Start[T], if_exists: IfExists) -> Handle[T]:
        outcome = await start.answer
        if outcome is Outcome.INVALID:
            raise self.writer.refusal(start.instance_id)
        if outcome is Outcome.ACCEPTED or await self._wanted(start).judge(outcome, if_exists):
            self._written(start)
        return start.handle

    def _wanted(self, start: Start[Any]) -> TakenId:
        return TakenId(self._access, self._watches, start)

    def _written(self, start: Start[Any]) -> None:
        """Tell hooks that the database has the start."""
        if start.sending is not None:
            self._mailer.tell_sent(start.sending)


def _refuse_for_a_message(what: str, if_exists: IfExists) -> None:
    if if_exists in ("refuse", "replace"):
        raise UsageError(f"{what} an existing instance: if_exists={if_exists!r} is for start")
