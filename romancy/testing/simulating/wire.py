"""The wire between a simulated process and the database: calls are late, get lost, hang, and are cut.

A call is carried out by the database, on the database's own event loop, whatever becomes of its caller meanwhile: it
may have died, given the call up, or sent it again.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from romancy.errors import OutcomeUnknownError, StorageUnavailableError
from romancy.storage.passing import Passing, changed_by
from romancy.storage.protocol import Store
from romancy.storage.sessions import StoreSession
from romancy.testing.simulating.telling import asked, told
from romancy.testing.simulating.world import SECOND

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.services import Services
    from romancy.storage.sessions import Sessions
    from romancy.testing.simulating.process import Process

__all__ = ["WEATHER", "Weather", "Wire", "WiredStore"]

WEATHER: Final = ("lost", "unanswered", "hung", "late")
"""What may happen to a call at any time, as a share of all."""

T = TypeVar("T")

_PATIENCE: Final = 5 * SECOND
"""How long a caller waits for an answer before it takes the connection for broken. (Adapters have such a limit.)"""
_WAITING: Final = frozenset({"wait_for_work", "outbox.wait"})
"""Calls whose answer is awaited for as long as the caller says."""
_COMMIT: Final = "session commit"
"""Without its answer, nobody knows whether a transaction was committed."""
_HERE: Final = frozenset({"form"})
"""Members of services that ask no database."""


class Weather:
    """How reliable the wires are, in shares of all calls. The same for all; each wire has troubles of its own too."""

    def __init__(self, *, lost: float = 0.0, unanswered: float = 0.0, hung: float = 0.0, late: float = 0.0) -> None:
        """`lost`: before the database gets them. `unanswered`: after it has carried them out."""
        self.lost = lost
        self.unanswered = unanswered
        self.hung = hung
        self.late = late
        self.slow = 1.0
        """By how much every call takes longer."""
        self.away = False
        """Whether nobody reaches the database."""
        self.latency = 300
        """In microseconds, one way, on average."""

    def calm(self) -> None:
        """All calls arrive and are answered."""
        self.lost = self.unanswered = self.hung = self.late = 0.0
        self.slow, self.away = 1.0, False


class Wire:
    """The connection of one process to the database."""

    def __init__(self, process: Process, server: Process, weather: Weather, chance: random.Random) -> None:
        self.process = process
        self._server = server
        self.weather = weather
        self._chance = chance
        self._world = process.world
        self._open: dict[asyncio.Future[Any], str] = {}
        self._closers: dict[object, Callable[[], Awaitable[object]]] = {}
        """What the database does when the connection is lost: it rolls open transactions back."""
        self._ends: dict[object, Callable[[], Awaitable[object]]] = {}
        """What the database does when the process is gone. A lost connection is made anew: its store stays open."""
        self._closing: set[asyncio.Task[object]] = set()
        self._fresh: set[asyncio.Task[Any] | None] = set()
        """The database's tasks whose first request has not been made: it has arrived with the call."""
        self.is_cut_off = False
        self._cuts = 0
        process.ended.append(self._hang_up)

    async def call(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Let the database carry this out, and return its answer."""
        answer: asyncio.Future[T] = self.process.loop.create_future()
        self._open[answer] = what
        world, weather, chance = self._world, self.weather, self._chance
        fate = chance.random()
        if self.is_cut_off or weather.away:
            wait = chance.choice((self._latency(), _PATIENCE))
            self._fail_in(wait, answer, asked(what, work), "away", maybe_written=False)
        elif fate < weather.lost:
            wait = chance.choice((self._latency(), _PATIENCE))
            self._fail_in(wait, answer, asked(what, work), "lost")
        else:
            fate -= weather.lost
            wait = self._latency()
            if fate < weather.hung:
                world.note(self.process.name, "hung", asked(what, work))
                wait += chance.randrange(SECOND, 2 * _PATIENCE)
            elif fate < weather.hung + weather.late:
                world.note(self.process.name, "late", asked(what, work))
                wait += chance.randrange(1000, SECOND)
            back = 0
            if chance.random() < 0.5:  # noqa: PLR2004 - its answer is late instead
                wait, back = self._latency(), wait
            way = None if chance.random() < weather.unanswered else back
            world.at(world.now + wait, partial(self._arrive, answer, what, work, way))
            if what not in _WAITING:
                world.at(world.now + _PATIENCE, partial(self._fail, answer, "no answer in time"))
        try:
            return await answer
        finally:
            self._open.pop(answer, None)

    def _latency(self) -> int:
        return 1 + int(self._chance.expovariate(1 / self.weather.latency) * self.weather.slow)

    def _arrive(
        self,
        answer: asyncio.Future[T],
        what: str,
        work: Callable[[], Awaitable[T]],
        back: int | None,
    ) -> None:
        """`back`: how much longer than usual the answer takes; None: it gets lost."""
        loop = self._server.loop

        def begin() -> None:
            task = loop.create_task(_carried_out(work))
            self._fresh.add(task)
            task.add_done_callback(self._fresh.discard)
            task.add_done_callback(partial(self._carried_out, answer, what, work, back))

        loop.call_soon_threadsafe(begin)

    def _carried_out(
        self,
        answer: asyncio.Future[T],
        what: str,
        work: Callable[[], Awaitable[T]],
        back: int | None,
        task: asyncio.Task[T],
    ) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        of = told(what, work, task.result()) if error is None else f"{told(what, work)} {type(error).__name__}".lstrip()
        self._world.note(self.process.name, what, of)
        if self.process.is_dead:
            self._world.note(self.process.name, "posthumous", asked(what, work))
            return
        if back is None or self.is_cut_off or self.weather.away:
            wait = self._chance.choice((self._latency(), _PATIENCE))
            self._fail_in(wait, answer, asked(what, work), "unanswered")
            return
        world = self._world
        result = None if error is not None else task.result()
        world.at(world.now + self._latency() + back, partial(self._answer, answer, error, result))

    def _answer(self, answer: asyncio.Future[T], error: BaseException | None, result: Any) -> None:
        def tell() -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        if not self.process.is_dead:
            self.process.loop.call_soon_threadsafe(tell)

    def _fail_in(
        self, wait: int, answer: asyncio.Future[Any], what: str, how: str, *, maybe_written: bool = True
    ) -> None:
        self._world.note(self.process.name, how, what)
        fail = partial(self._fail, answer, how, maybe_written=maybe_written)
        self._world.at(self._world.now + wait, fail)

    def _fail(self, answer: asyncio.Future[Any], why: str, *, maybe_written: bool = True) -> None:
        if answer.done() or self.process.is_dead:
            return
        unsure = maybe_written and self._open.get(answer) == _COMMIT
        kind = OutcomeUnknownError if unsure else StorageUnavailableError
        error = kind(f"the simulated database: {why}")
        error.maybe_written = maybe_written
        self._answer(answer, error, None)

    @property
    def under_way(self) -> list[str]:
        """The calls that wait for an answer."""
        return list(self._open.values())

    async def pace(self) -> None:
        """Let time pass between two requests of an operation, on the database's event loop.

        Raises StorageUnavailableError if the connection is lost meanwhile: the caller asks for nothing more.
        """
        task, cuts = asyncio.current_task(), self._cuts
        if task in self._fresh:
            self._fresh.discard(task)
            return
        await asyncio.sleep(self._latency() / SECOND)
        if self.process.is_dead or cuts != self._cuts or self.is_cut_off or self.weather.away:
            self._world.note(self.process.name, "given up")
            raise StorageUnavailableError("the simulated database: the connection was lost within an operation")

    # ── the connection ──────────────────────────────────────────────────────────────────────────────────────────

    def cut(self) -> None:
        """Break the connection: calls under way fail, and open transactions are rolled back."""
        self._world.note(self.process.name, "cut")
        self._cuts += 1
        for answer in list(self._open):
            self._fail(answer, "the connection was cut")
        self._roll_back()

    def cut_off(self) -> None:
        """Break the connection, and let no other be made until `is_cut_off` is False again."""
        self.is_cut_off = True
        self._world.note(self.process.name, "cut off")
        self.cut()

    def closes_with(self, key: object, close: Callable[[], Awaitable[object]]) -> None:
        """Have the database do this when the connection is lost, unless `stays` comes first."""
        self._closers[key] = close

    def ends_with(self, key: object, end: Callable[[], Awaitable[object]]) -> None:
        """Have the database do this when the process is gone, unless `stays` comes first."""
        self._ends[key] = end

    def stays(self, key: object) -> None:
        """Forget what `closes_with` or `ends_with` has asked for."""
        self._closers.pop(key, None)
        self._ends.pop(key, None)

    def lost_with(self, key: object) -> None:
        """Have the database do now what it does when the connection is lost."""
        close = self._closers.pop(key, None) or self._ends.pop(key, None)
        if close is not None:
            self._server.loop.call_soon_threadsafe(partial(self._begin_close, close))

    def _roll_back(self) -> None:
        closers, self._closers = self._closers, {}
        for close in closers.values():
            self._server.loop.call_soon_threadsafe(partial(self._begin_close, close))

    def _begin_close(self, close: Callable[[], Awaitable[object]]) -> None:
        task = self._server.loop.create_task(_carried_out(close))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _hang_up(self) -> None:
        """The process has ended: the database notices a moment later."""
        self._world.at(self._world.now + self._latency(), self._end)

    def _end(self) -> None:
        self._roll_back()
        for key in list(self._ends):
            self.lost_with(key)


async def _carried_out(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _as_sent(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments as they are now: their lists may change before the call arrives."""
    return tuple([each[:] if type(each) is list else each for each in values])


class WiredStore(Passing[Store], Store):
    """A store at the other end of a wire."""

    def __init__(self, store: Store, wire: Wire) -> None:
        super().__init__(store)
        self._wire = wire
        for name in ("commit", "read", "claim", "heartbeat", "leave", "takeover", "deliver", "wait_for_work"):
            setattr(self, name, _remote(wire, name, getattr(store, name)))
        self.services: Services = _wired_services(store.services, wire)

    async def open(self, *, migrate: bool = True) -> None:
        await self._wire.call("open", partial(self._passed_to.open, migrate=migrate))
        self._wire.ends_with(self, self._passed_to.close)

    async def close(self) -> None:
        try:
            await self._wire.call("close", self._passed_to.close)
        except StorageUnavailableError:
            self._wire.cut()
            self._wire.lost_with(self)
        else:
            self._wire.stays(self)


def _remote(wire: Wire, name: str, member: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    def call(*args: Any, **kwargs: Any) -> Awaitable[Any]:
        return wire.call(name, partial(member, *_as_sent(args), **kwargs))

    return call


class _FarService:
    """A service at the other end of the wire."""

    def __init__(self, wire: Wire, name: str, service: Any) -> None:
        self._wire = wire
        self._name = name
        self._service = service

    def __getattr__(self, name: str) -> Any:
        member: Any = getattr(self._service, name)
        if name in _HERE or not callable(member):
            return member
        remote = _remote(self._wire, f"{self._name}.{name}", cast("Any", member))
        setattr(self, name, remote)
        return remote


def _wired_services(services: Services, wire: Wire) -> Services:
    def service(name: str) -> Callable[[Any], Any]:
        return lambda there: _FarService(wire, name, there)

    return services.wrapped(
        sessions=lambda sessions: _Sessions(sessions, wire),
        router=service("router"),
        outbox=service("outbox"),
        reading=service("reading"),
        lookups=service("lookups"),
        figures=service("figures"),
        upkeep=service("upkeep"),
        rebuilding=service("rebuilding"),
        journal=service("journal"),
        amending=service("amending"),
    )


class _Sessions:
    def __init__(self, sessions: Sessions, wire: Wire) -> None:
        self._sessions = sessions
        self._wire = wire
        self._open: dict[int, _Block[Any]] = {}
        """The blocks of open sessions, by the ids of what their callers join."""

    @asynccontextmanager
    async def begin(self, *, isolation: IsolationLevel | None = None) -> AsyncGenerator[StoreSession]:
        there = self._sessions.begin(isolation=isolation)
        async with _entered(self._wire, "session", there) as (session, block):
            number = id(block.native)
            self._open[number] = block
            try:
                yield changed_by(session, _Session, self._wire, block)
            finally:
                block.native = None
                del self._open[number]

    @asynccontextmanager
    async def join(self, transaction: object, /) -> AsyncGenerator[Any]:
        there = self._sessions.join(getattr(transaction, "there", transaction))
        within = self._open.get(id(getattr(transaction, "native", transaction)))
        async with _entered(self._wire, "join", there, within) as (joined, block):
            yield changed_by(joined, _Joined, self._wire, block)


@asynccontextmanager
async def _entered(
    wire: Wire, what: str, there: AbstractAsyncContextManager[T], within: _Block[Any] | None = None
) -> AsyncGenerator[tuple[T, _Block[T]]]:
    """The other end enters the block and leaves it, once, whatever gets lost on the way."""
    block = _Block(there, within)
    wire.closes_with(there, block.leave)
    try:
        yield await wire.call(f"{what} begin", block.enter), block
    finally:
        try:
            await wire.call(f"{what} end", block.leave)
        except StorageUnavailableError:
            wire.lost_with(there)
        else:
            wire.stays(there)


class _Block(Generic[T]):
    """A block that is entered and left once, in whatever order the calls arrive."""

    def __init__(self, there: AbstractAsyncContextManager[T], within: _Block[Any] | None = None) -> None:
        """`within`: the block of the transaction that this one is a part of."""
        self._there = there
        self._within = within
        self._entered = self._left = False
        self.native: Any = None
        """What the caller joins. It has it from the beginning to its end, also when the connection is lost."""

    async def enter(self) -> T:
        if self._left or (self._within is not None and self._within.is_left):
            raise StorageUnavailableError("the simulated database: the connection is gone")
        value = await self._there.__aenter__()
        self._entered = True
        self.native = getattr(value, "native", None)
        if self._is_given_up():
            await self._there.__aexit__(None, None, None)
        return value

    def _is_given_up(self) -> bool:
        return self._left

    @property
    def is_left(self) -> bool:
        """Whether nothing more is done in it."""
        return self._left

    def guarded(self, member: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """The same, which fails once the connection is lost on which the block was entered."""

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self._left:
                raise StorageUnavailableError("the simulated database: the connection of this transaction is gone")
            return await member(*args, **kwargs)

        return call

    async def leave(self) -> None:
        if not self._left:
            self._left = True
            if self._entered:
                await self._there.__aexit__(None, None, None)


class _Session(Passing[StoreSession], StoreSession):
    """A session at the other end of the wire."""

    def __init__(self, session: StoreSession, wire: Wire, block: _Block[Any]) -> None:
        super().__init__(session)
        self.there = session
        self._block = block
        self._wire = wire
        for name in ("execute", "fetch_all", "commit"):
            setattr(self, name, _remote(wire, f"session {name}", block.guarded(getattr(session, name))))

    @property
    def native(self) -> Any:
        """As the other end had it when the session began."""
        return self.there.native if self._block.native is None else self._block.native

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        return _part(self._wire, self.there.savepoint())


@asynccontextmanager
async def _part(wire: Wire, there: AbstractAsyncContextManager[None]) -> AsyncGenerator[None]:
    await wire.call("savepoint", there.__aenter__)
    try:
        yield
    except BaseException as error:
        await wire.call("savepoint undone", partial(there.__aexit__, type(error), error, None))
        raise
    await wire.call("savepoint kept", partial(there.__aexit__, None, None, None))


class _Joined(_Session):
    """A part in a caller's transaction, at the other end of the wire."""

    def __init__(self, session: Any, wire: Wire, block: _Block[Any]) -> None:
        super().__init__(session, wire, block)
        self.send: Callable[[Sequence[Any]], Awaitable[Any]] = _remote(wire, "join send", block.guarded(session.send))
