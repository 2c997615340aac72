"""Dispatches messages and interests at an address soon after the commit that wrote them.

Every app has a dispatcher, with a worker or without one. It runs one dispatch at a time, for all addresses that were
named since the last one. Whatever it leaves undone (a crash, a closed app), the sweep of a worker does.

A failed dispatch is retried with growing pauses, while the others continue. If the database answers, the addresses of a
failed dispatch are halved until the failing address is alone.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from romancy._logs import get_logger
from romancy.engine.aftermath import look_after
from romancy.engine.clock import DatabaseClock
from romancy.engine.surroundings import here
from romancy.errors import StorageUnavailableError
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from romancy.engine.aftermath import Sent
    from romancy.engine.clock import Timer
    from romancy.engine.inbox import Mail
    from romancy.storage.protocol import Store
    from romancy.storage.routing import Owner

__all__ = ["Dispatcher"]

logger = get_logger("romancy.engine")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_LONGEST_PAUSE_OF_ONE: Final = 60.0
"""The longest pause before the retry of an address that fails although the database answers."""
_LONGEST_GOODBYE: Final = 5.0
_LOOKS: Final = (0.02, 0.1, 0.5, 2.0)
_AT_ONCE: Final = 200
"""Upper bound on the addresses of one dispatch."""
_EXPIRE_EVERY: Final = 600.0
_EXPIRED_AT_ONCE: Final = 1000
_TOLD: Final = 1000
"""Upper bound on the addresses for which a warning was logged and is not repeated."""


class _Job(ABC):
    """One piece of work, retried if it fails."""

    def __init__(self, what: str, answers: int = -1) -> None:
        self.what = what
        self.pause = _FIRST_PAUSE
        self.answers = answers
        """The count of the database's answers when this job failed; -1: it has not failed."""
        self.waits = False
        """Whether the job is retried after a pause."""

    @abstractmethod
    async def do(self, dispatcher: Dispatcher, store: Store) -> None:
        """Run the job. Raises the errors of the store; the job can then be run again."""


class _Return(_Job):
    def __init__(self, owner: Owner, mail: Mail, done: Callable[[], None]) -> None:
        super().__init__(f"messages that {owner.name} had taken go back")
        self._owner, self._mail, self._done = owner, mail, done

    async def do(self, dispatcher: Dispatcher, store: Store) -> None:
        await store.services.router.give_back(self._owner, [self._mail.delivery_id], at=self._mail.at)
        dispatcher.ask((self._mail.address or "",))
        self._done()


class _Sweep(_Job):
    def __init__(self, keep: float | None) -> None:
        super().__init__("the sweep")
        self._keep = keep
        self._expires_at = 0.0

    async def do(self, dispatcher: Dispatcher, store: Store) -> None:
        if Service.ROUTER not in store.services.offered:
            return
        dispatched = await store.services.router.dispatch(())
        dispatcher.say_held_up(dispatched.held_up)
        dispatcher.look_again(dispatched.later)
        if dispatched.more or await self._expire(store):
            dispatcher.sweep()

    async def _expire(self, store: Store) -> bool:
        """From time to time, remove kept messages that have expired. Return whether there are more."""
        if self._keep is None or here().seconds() < self._expires_at or Service.READING not in store.services.offered:
            return False
        before = (await store.services.reading.census()).now - round(self._keep * 1_000_000)
        gone = await store.services.router.expire(before, limit=_EXPIRED_AT_ONCE)
        if gone < _EXPIRED_AT_ONCE:
            self._expires_at = here().seconds() + _EXPIRE_EVERY
        return gone >= _EXPIRED_AT_ONCE


class _LookAfter(_Job):
    def __init__(self, sent: Sequence[Sent]) -> None:
        receivers = sorted({one.instance_id for each in sent for one in each.deliveries})
        more = f" and {len(receivers) - 1} more" * (len(receivers) > 1)
        super().__init__(f"messages to instance {receivers[0]}{more}")
        self._sent = sent

    async def do(self, dispatcher: Dispatcher, store: Store) -> None:  # noqa: ARG002 - the signature of the base class
        await look_after(store, self._sent)


class _Dispatch(_Job):
    def __init__(self, addresses: Sequence[str], answers: int = -1) -> None:
        more = f" and {len(addresses) - 1} more" * (len(addresses) > 1)
        super().__init__(f"messages at {addresses[0]!r}{more}", answers)
        self.addresses = addresses

    async def do(self, dispatcher: Dispatcher, store: Store) -> None:
        dispatched = await store.services.router.dispatch(self.addresses)
        if dispatched.held_up:
            dispatcher.say_held_up(dispatched.held_up)
        if dispatched.later:
            dispatcher.look_again(dispatched.later)
        if dispatched.more:
            dispatcher.ask(self.addresses)

    def halves(self) -> list[_Dispatch]:
        """The same as two."""
        middle = len(self.addresses) // 2
        return [_Dispatch(part, self.answers) for part in (self.addresses[:middle], self.addresses[middle:])]


class Dispatcher:
    """Dispatches the requested addresses until closed. A sweep removes messages kept for over `keep` seconds."""

    def __init__(self, store: Store, keep: float | None = None, clock: DatabaseClock | None = None) -> None:
        self._store = store
        self._clock = clock or DatabaseClock()
        self._addresses: dict[str, None] = {}
        self._jobs: deque[_Job] = deque()
        """Jobs that precede the next dispatch: messages to give back, and retries."""
        self._sent: list[Sent] = []
        """Messages to single instances, whose receivers are to be looked at."""
        self._sweep = _Sweep(keep)
        self._sweeps = False
        self._aside: dict[str, None] = {}
        """Addresses of failed dispatches that wait for a retry."""
        self._told: dict[str, None] = {}
        self._answers = 0
        """How often the database has answered."""
        self._later: list[asyncio.TimerHandle] = []
        self._lanes_due: dict[str, Timer] = {}
        """Lanes of which a rate gives the next place later."""
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing to dispatch now, except retries that are not due yet."""
        return self._task is None and not (self._jobs or self._addresses or self._sent or self._sweeps)

    def ask(self, addresses: Iterable[str]) -> None:
        """Dispatch these addresses soon."""
        self._addresses.update(dict.fromkeys([one for one in addresses if one not in self._aside]))
        self._go_on()

    def ask_later(self, addresses: Iterable[str]) -> None:
        """Dispatch these addresses now and, with growing pauses, a few more times.

        The post is in the caller's transaction, and its commit is not announced. If the commit takes longer, a sweep
        finds the post.
        """
        after, addresses = 0.0, tuple(addresses)
        for pause in _LOOKS:
            after += pause
            self._call_later(after, self.ask, addresses)

    def look_again(self, lanes: Mapping[str, int]) -> None:
        """Dispatch these lanes after so many microseconds. Each is looked at once at its earliest time."""
        for lane, after in lanes.items():
            if lane not in self._lanes_due and not self._closing:
                self._lanes_due[lane] = self._clock.call_at(self._clock.now() + after, self._due, lane)

    def _due(self, lane: str) -> None:
        self._lanes_due.pop(lane, None)
        self.ask((lane,))

    def sweep(self) -> None:
        """Soon dispatch every address that has something to route."""
        if not self._sweep.waits:
            self._sweeps = True
            self._go_on()

    def give_back(self, owner: Owner, mail: Mail, done: Callable[[], None]) -> None:
        """Return a message that an instance took but cannot use to its address, and dispatch it again.

        `done` is called once it is back, or no longer exists.
        """
        self._jobs.append(_Return(owner, mail, done))
        self._go_on()

    def look_after(self, sent: Sent) -> None:
        """Soon look whether the receivers of these messages had ended."""
        self._sent.append(sent)
        self._go_on()

    async def close(self) -> None:
        """Finish the requested dispatches, as long as the database answers."""
        self._closing = True
        for looking in (*self._later, *self._lanes_due.values()):
            looking.cancel()
        task = self._task
        if task is None:
            return
        _, late = await asyncio.wait([task], timeout=_LONGEST_GOODBYE)
        if late:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            logger.warning("the database does not answer: a worker's sweep will route the last messages")

    def _call_later(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        loop = asyncio.get_running_loop()
        self._later = [one for one in self._later if not one.cancelled() and one.when() > loop.time()]
        if not self._closing:
            self._later.append(loop.call_later(seconds, call, *args))

    def _go_on(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._task = None
        if not self._closing and (self._jobs or self._addresses or self._sent or self._sweeps):
            self._go_on()  # a request came after the last look

    async def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                await job.do(self, self._store)
            except Exception as error:  # noqa: BLE001 - it is logged, and tried again
                self._failed(job, error)
            else:
                self._answers += 1
                job.pause = _FIRST_PAUSE

    def _next(self) -> _Job | None:
        """The next job. An address that is named again while it is dispatched is dispatched again."""
        if self._jobs:
            job = self._jobs.popleft()
            if isinstance(job, _Dispatch):
                for address in job.addresses:
                    self._aside.pop(address, None)
            return job
        if self._addresses:
            addresses = list(self._addresses)[:_AT_ONCE]
            for address in addresses:
                del self._addresses[address]
            return _Dispatch(addresses)
        if self._sent:
            sent, self._sent = self._sent[:_AT_ONCE], self._sent[_AT_ONCE:]
            return _LookAfter(sent)
        if self._sweeps:
            self._sweeps = False
            return self._sweep
        return None

    def _failed(self, job: _Job, error: Exception) -> None:
        """Retry: at once and in two halves if the database answers other calls, else after a pause."""
        away = isinstance(error, StorageUnavailableError)
        if job is self._sweep:
            self._sweeps = False  # the retry also covers the sweep requested meanwhile
        if isinstance(job, _Dispatch):
            self._aside.update(dict.fromkeys(job.addresses))
            if len(job.addresses) > 1 and (not away or -1 < job.answers < self._answers):
                self._jobs.extend(job.halves())
                return
        if away:
            logger.warning("%s: not routed yet: %s", job.what, error)
        else:
            logger.error("%s: cannot be routed, retried: %s", job.what, error, exc_info=error)
        job.waits, job.answers = True, self._answers
        self._call_later(job.pause, self._retry, job)
        job.pause = min(2 * job.pause, _LONGEST_PAUSE if away else _LONGEST_PAUSE_OF_ONE)

    def _retry(self, job: _Job) -> None:
        job.waits = False
        self._jobs.append(job)
        self._go_on()

    def say_held_up(self, held_up: Mapping[str, str]) -> None:
        """Log, once for each address, that this process cannot dispatch it."""
        for address, reason in held_up.items():
            if address not in self._told:
                logger.warning("messages at %r wait for another worker: %s", address, reason)
                self._told[address] = None
        while len(self._told) > _TOLD:
            del self._told[next(iter(self._told))]
