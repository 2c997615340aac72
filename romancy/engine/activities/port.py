"""What a running activity can ask of the engine: a session, messages, callbacks.

The session opens when the activity first asks for it. An activity that needs none pays for none.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from asyncio import CancelledError, Lock
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from msgspec.structs import replace

from romancy._logs import about, get_logger
from romancy.engine.announcing import kind_of_sending
from romancy.engine.messages import outgoing
from romancy.engine.sending import delivery_of, posting_of
from romancy.engine.stream_keeper import AttemptStreams
from romancy.engine.surroundings import here
from romancy.errors import StorageUnavailableError, UsageError
from romancy.session import Session, refuse_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from msgspec import Raw

    from romancy.core import Message, StartActivity, StartCompensation
    from romancy.engine.append_slots import Slots
    from romancy.engine.incarnation import Incarnation
    from romancy.engine.instance import Live
    from romancy.engine.line_keeper import LineKeeper
    from romancy.engine.observer import Observer
    from romancy.engine.stream_keeper import StreamKeeper
    from romancy.hooks import Sending
    from romancy.session import Companion
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.protocol import Store
    from romancy.storage.records import Delivery, OutboxRow
    from romancy.storage.routing import Posting
    from romancy.storage.sessions import StoreSession
    from romancy.stream import Writing

    _Mark: TypeAlias = tuple[tuple[int, int, int, int, int], frozenset[str]]

__all__ = ["GIVEN_UP", "Port", "Tools"]

logger = get_logger("romancy.engine")

T = TypeVar("T")

GIVEN_UP = "this attempt was given up: its workflow ended, it timed out, or its worker lost its lease"


class Tools(NamedTuple):
    """What all attempts of a worker share."""

    store: Store
    incarnation: Incarnation
    slots: Slots | None
    """Lends append slots to sessions, where sessions take the slots of their instances."""
    streams: StreamKeeper
    """Writes to streams."""
    errors: Collection[str] = frozenset()
    """Names of the exception types that a workflow can catch by their own class."""
    announces: Observer | None = None
    """Asks hooks for headers of what activities send. None: no hook adds any."""
    keeper: LineKeeper | None = None
    """Keeps the log lines of activities."""
    resting: Callable[[Any], AbstractContextManager[object]] = nullcontext
    """In this block an attempt, which is its argument, only waits, and another one may have its slot."""


class Port:
    """The engine's services for one attempt. Services that the attempt does not use cost nothing."""

    _manager: AbstractAsyncContextManager[StoreSession] | None = None
    opened: StoreSession | None = None
    transacted = False
    """Whether the attempt has asked for a session, successfully or not."""
    outbox: tuple[OutboxRow, ...] = ()
    postings: tuple[Posting, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    sendings: tuple[Sending, ...] = ()
    """Those of them for which hooks were asked for headers."""
    callbacks: tuple[Callable[[], Any], ...] = ()
    details: Raw | None = None
    """The details of the attempt's last heartbeat."""
    heard_at: float | None = None
    """Time of the last heartbeat (`time.monotonic`); None before the attempt has begun."""
    ended = False
    """Whether the attempt has ended and its end is about to be reported."""
    companion: Companion | None = None
    """The session of another library on this transaction."""
    streams: AttemptStreams | None = None
    """What the attempt writes to streams."""
    _opening: Lock | None = None
    _isolation: IsolationLevel | None = None

    def __init__(
        self, tools: Tools, live: Live, effect: StartActivity | StartCompensation, id: str, *, over: bool
    ) -> None:
        self._store = tools.store
        self._incarnation = tools.incarnation
        self._announces = tools.announces
        self._slots = tools.slots
        self._streams = tools.streams
        self._live = live
        self.over = over
        """Whether the attempt was given up. A thread may still run it."""
        self.begun: set[str] = set()
        """Ids of the instances that the activity started in the session."""
        self.effect = effect
        self._id = id
        self._calls: set[asyncio.Task[Any]] = set()
        """Tasks on the event loop that the attempt's thread waits for."""

    @property
    def leaves_something(self) -> bool:
        """Whether the append of the attempt's end also has to carry a session, messages or callbacks of the attempt."""
        sends = self.outbox or self.postings or self.deliveries
        return bool(sends or self.callbacks or self.opened is not None)

    async def session(self, native: type[Any] | None, isolation: IsolationLevel | None = None, /) -> Any:
        """The transaction that this attempt's completion will be part of. The first call begins it, with its level."""
        given = self.effect.definition.given
        if not given.transactional:
            raise UsageError(
                f"activity {self.effect.name} was declared with transactional=False: it has no session. "
                "Remove that option, or open a connection of your own"
            )
        if given.at_most_once:
            raise UsageError(
                f"activity {self.effect.name} was declared with at_most_once=True: it has no session, whose "
                "transaction the database may roll back and the engine repeat. Write in an activity of its own, before "
                "or after it"
            )
        self.transacted = True
        opened = self.opened
        if opened is None:
            if self._opening is None:
                self._opening = Lock()
            async with self._opening:
                opened = await self._open(isolation)
        if isolation is not None and isolation != self._isolation:
            begun = "without isolation=" if self._isolation is None else f"with isolation={self._isolation!r}"
            raise UsageError(
                f"activity {self.effect.name}: its session was begun {begun}, and a transaction keeps its level; give "
                f"isolation={isolation!r} where the activity first asks for its session"
            )
        if native is None:
            return Session(opened, self)
        if not isinstance(opened.native, native):
            raise UsageError(
                f"activity {self.effect.name}: this database's session is a {type(opened.native).__name__}, "
                f"not a {native.__name__}"
            )
        return opened.native

    async def _open(self, isolation: IsolationLevel | None) -> StoreSession:
        if self.opened is not None:
            return self.opened  # another task of the activity opened it first
        if self.streams is not None:
            await self.streams.flushed()  # where sessions exclude, nothing could be written until its end
        if self._slots is not None:
            await self._slots.take(self._live, self)
        try:
            manager = self._store.services.sessions.begin(isolation=isolation)
            opened = await manager.__aenter__()
        except BaseException:
            self._give_slot_back()
            raise
        self._manager, self.opened, self._isolation = manager, opened, isolation
        if self._slots is not None:
            what = f"activity {self.effect.name} ({self._id}) of instance {self._live.instance_id}"
            self._slots.begun(opened, self._live, self, what)
        if self.ended or self.over:
            await self.close()
            raise UsageError(f"activity {self.effect.name} asked for its session after its attempt had ended")
        return opened

    def _give_slot_back(self) -> None:
        if self._slots is not None:
            self._slots.free(self._live, self)

    def excuse(self, error: Exception) -> StorageUnavailableError | None:
        """The database error behind an exception of an attempt that has asked for a session; None if there is none."""
        if isinstance(error, StorageUnavailableError):
            return error if self.transacted else None
        if self.companion is not None:
            error = self.companion.cause(error)
        return None if self.opened is None else self.opened.excuse(error)

    def wait(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Run this on the event loop while the attempt's thread waits.

        Raises CancelledError, to stop the thread, if the attempt was given up.
        """
        self._go_on()
        refuse_loop("a session that is entered", "await it: `db = await session()`")
        call = self._counted(work)
        try:
            answer = asyncio.run_coroutine_threadsafe(call, loop)
        except RuntimeError:  # the loop has ended
            call.close()
            raise CancelledError(GIVEN_UP) from None
        try:
            return answer.result()
        except concurrent.futures.CancelledError:
            raise CancelledError(GIVEN_UP) from None

    async def _counted(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the loop makes one
        self._calls.add(task)
        try:
            self._go_on()
            return await work()
        finally:
            self._calls.discard(task)

    def heartbeat(self, details: Raw | None, /) -> None:
        """Record a heartbeat and its details.

        Raises CancelledError, to stop its thread, if the attempt was given up.
        """
        self._go_on()
        self.heard_at = here().seconds()
        if details is not None:
            self.details = details

    def stream(self, name: str, loop: asyncio.AbstractEventLoop) -> Writing:
        """What the attempt writes to the stream of this name. Raises CancelledError if it was given up."""
        self._go_on()
        streams = self.streams
        if streams is None:
            streams = self.streams = AttemptStreams(self._streams, self._live, self._id, self.effect.attempt, loop)
        if self.opened is not None and self._slots is not None:
            raise UsageError(
                f"activity {self.effect.name} wrote to stream {name!r} with its session open: in this database, "
                "nothing else can be written until that ends. Write before you ask for the session, or elsewhere"
            )
        return streams.of(name)

    async def publish(self, type: str, data: Raw, key: str | None, /) -> None:
        """Queue a message that is sent with the completion."""
        live = self._live
        headers = live.headers
        if self._announces is not None:
            headers = self._carried(self._announces, "publish", type, None, headers)
        self.outbox += (
            outgoing(type, data, key, self._incarnation.stamp(), instance_id=live.instance_id, headers=headers),
        )

    async def send(self, message: Message, to: str | None, /) -> str:
        """Queue a message that is sent with the completion, and return its id."""
        stamp, live, chosen = self._incarnation.stamp(), self._live, bool(message.id)
        headers = message.headers
        if self._announces is not None:
            kind = kind_of_sending(message, to)
            headers = self._carried(self._announces, kind, message.topic.name, to, headers)
        source = message.source
        if not source and message.topic.kind == "event":
            source = f"/{live.definition.name}/{live.instance_id}"
        message = replace(message, id=message.id or stamp, source=source, sender=live.instance_id, headers=headers)
        if to is None:
            self.postings += (posting_of(message, stamp, chosen=chosen),)
        else:
            self.deliveries += (delivery_of(message, to, stamp, chosen=chosen),)
        return message.id

    def _carried(
        self, announces: Observer, kind: str, name: str, to: str | None, headers: Mapping[str, str]
    ) -> dict[str, str]:
        """All headers of what the activity sends."""
        sending = announces.announced(self._live, kind, name, to, headers, self._id)
        self.sendings += (sending,)
        return dict(sending.headers)

    def after_commit(self, callback: Callable[[], Any], /) -> None:
        """Queue a callback for when the completion is durable. Raises CancelledError if the attempt was given up."""
        self._go_on()
        self.callbacks += (callback,)

    def _go_on(self) -> None:
        if self.over:
            raise CancelledError(GIVEN_UP)

    def committed(self) -> None:
        """Run the callbacks: the completion is durable. A callback that fails affects nothing else."""
        if self._announces is not None:
            self._announces.sent(self.sendings)
        for callback in () if self.over else self.callbacks:  # a thread may have added one since it was given up
            try:
                callback()
            except (Exception, CancelledError, SystemExit):
                logger.exception("activity %s: its after_commit callback failed", self.effect.name, extra=self._about())

    def mark(self) -> _Mark:
        """How much of what the completion sends is queued now, for a savepoint."""
        lengths = (len(self.outbox), len(self.postings), len(self.deliveries), len(self.sendings), len(self.callbacks))
        return lengths, frozenset(self.begun)

    def go_back(self, mark: _Mark, /) -> None:
        """Drop what was queued since the mark: its savepoint was undone."""
        (outbox, postings, deliveries, sendings, callbacks), begun = mark
        self.outbox, self.callbacks = self.outbox[:outbox], self.callbacks[:callbacks]
        self.postings, self.deliveries = self.postings[:postings], self.deliveries[:deliveries]
        self.sendings = self.sendings[:sendings]
        self.begun &= begun

    def has_begun(self, instance_id: str) -> None:
        """Record that the activity started an instance in its session."""
        self.begun.add(instance_id)

    def has_ended(self) -> None:
        """Record that the attempt has ended, and its end is about to be reported."""
        self.ended = True
        if self.streams is not None:
            self.streams.has_ended()

    async def give_up(self) -> None:
        """Discard what a failed or cancelled attempt did: its writes, messages and callbacks take no effect."""
        self.over = True
        if self.streams is not None:
            await self.streams.give_up()
        await self.close()
        self.outbox, self.callbacks = (), ()
        self.postings, self.deliveries, self.sendings = (), (), ()

    async def close(self) -> None:
        """End the session. Uncommitted writes are rolled back."""
        await self._let_companion_go()
        manager, self._manager, self.opened = self._manager, None, None
        if manager is not None:
            try:
                await manager.__aexit__(None, None, None)
            except Exception as error:  # noqa: BLE001 - whatever the driver raises
                # A lost connection has rolled back. The end of the attempt is still reported.
                logger.warning(
                    "activity %s: its session could not be closed: %s", self.effect.name, error, extra=self._about()
                )
            finally:
                self._give_slot_back()
                if self._slots is not None:
                    self._slots.ended(self)

    async def _let_companion_go(self) -> None:
        """Detach the library's session and any abandoned thread: nothing else may use the transaction when it ends."""
        companion, self.companion = self.companion, None
        if companion is not None:
            await companion.leave()
        calls = self._calls - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls)

    def _about(self) -> dict[str, Any]:
        return about(self._live, self._id, self.effect.attempt)
