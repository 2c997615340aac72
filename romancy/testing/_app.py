"""The app of a test: Romancy on a store in memory, with a clock that the test moves and fakes for activities."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar

from msgspec.structs import replace

from romancy._logs import get_logger
from romancy._microseconds import at_of, moment_of
from romancy._options import yes_or_no
from romancy.app import Romancy
from romancy.attempt_context import entered_activity
from romancy.built_in import ALL
from romancy.errors import RomancyError, UsageError
from romancy.retry import Duration, seconds, whole_number
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.backends import create_store
from romancy.storage.passing import changed_by
from romancy.testing._clock import StandingClock
from romancy.testing._ends import EndsOfTest
from romancy.testing._fakes import Faking
from romancy.testing._mocks import Stage
from romancy.testing._mortal import Death, Mortal, Place
from romancy.testing._relay import RelayedTime
from romancy.testing._time import Time

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from romancy.core import RunEnd
    from romancy.hooks import Hook
    from romancy.log import LogEntry
    from romancy.outbox import Relay
    from romancy.results.watch import Watch
    from romancy.retry import RetryPolicy
    from romancy.serialization import Codecs, PayloadCodec
    from romancy.storage.protocol import Store
    from romancy.workflow import Workflow


__all__ = ["TestApp"]

logger = get_logger("romancy.testing")

_MOST_TOLD: Final = 5
_LAST_WORD: Final = 5.0
"""Seconds that functions on threads have to end after a crash. A killed process would have taken them along."""
_OPEN: Final = tuple(status for status in Status if status not in TERMINAL_STATUSES)


class TestApp(Faking, Romancy):
    """An app for tests. It has everything that `Romancy` has; the store is in memory, and the test moves the clock.

    Time stands still. While the test waits for a result or a reply and nothing else can happen, time moves to the next
    due moment.
    With `skip=False` it moves only with `advance`.
    """

    __test__ = False
    _deploys_schedules = False
    """A test declares the schedules that it is about. Those of the code would begin to run in every test."""

    def __init__(  # noqa: PLR0913 - every choice of the test's
        self,
        workflows: Iterable[Workflow[..., Any] | type],
        *,
        now: datetime | None = None,
        skip: bool = True,
        retry: RetryPolicy | None = None,
        max_activities: int = 1000,
        sticky: int = 1000,
        drain_timeout: float = 0.0,
        hooks: Iterable[Hook] = (),
        codecs: Codecs | Iterable[PayloadCodec] = (),
        relay: Relay | None = None,
        check_replay: bool = True,
    ) -> None:
        """`now` is the time at the beginning: without it, the time of the machine.

        With `check_replay`, each instance is replayed when it has ended, in a copy of the process. If its body does
        something else than its log says, an AssertionError with the difference is raised where the test waits for a
        result, or when the app is closed.

        With a `relay`, its sender gets published events, and pauses before a retry are in the test's time.
        """
        self._clock = StandingClock(_microseconds(datetime.now(UTC) if now is None else now))
        url = f"memory://test-{secrets.token_hex(8)}"
        self._kept = create_store(url, clock=self._clock.now)
        """Keeps the database between two lives of the app."""
        super().__init__(
            url,
            workflows=workflows,
            retry=retry,
            max_activities=max_activities,
            sticky=sticky,
            drain_timeout=drain_timeout,
            hooks=hooks,
            codecs=codecs,
            check_at_start=False,
            retention=None,
            keep_streams=None,
            relay=relay,
        )
        self._skip = skip
        self._stage = Stage(lambda: self.now, self._is_declared)
        self._replays = EndsOfTest() if yes_or_no(check_replay, "check_replay") else None
        self._settings = replace(
            self._settings,
            clock=self._clock,
            stage=self._stage.make,
            around=self._mortal,
            ended=None if self._replays is None else self._replays.note,
        )
        self._time: Time | None = None
        self._access.answers.idle = lambda: self._opened_time().awaited()
        self._skips = 0
        self._death = Death()

    def _is_declared(self, name: str) -> bool:
        """Whether one of its workflows calls an activity of this name."""
        return any(name in activities for activities in self._registry.own.values())

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        worker = self._access.worker
        assert worker is not None  # noqa: S101 - a test app is a worker
        relayed = None
        if self.relay is not None:
            relayed = RelayedTime(self._clock, self._access.opened().services.outbox, self._relaying)
        self._time = Time(self._clock, worker, skip=self._skip, idle=self._say_what_is_open, relayed=relayed)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._time is not None:
            if isinstance(error, Exception):
                await self._note_what_is_open(error)
            self._skips += self._time.skips
            await self._time.close()
            self._time = None
        difference = await self._unlike_its_log() if error is None or isinstance(error, Exception) else None
        await super().__aexit__(kind, error, trace)
        if difference is None:
            return
        if error is None:
            raise AssertionError(difference)
        error.add_note(difference)

    async def restart(self, workflows: Iterable[Workflow[..., Any] | type] | None = None) -> None:
        """Stop normally and start again on the same database, as a deployment does; with other code, if given.

        Handles stay valid. Callers that wait for a result at this moment get a UsageError.
        """
        self._access.opened()
        await self._check_replays()
        await self.__aexit__(None, None, None)
        if workflows is not None:
            self._workflows = list(workflows)
        await self.__aenter__()

    def _mortal(self, store: Store) -> Store:
        self._death = self._stage.death = Death()
        return changed_by(store, Mortal, self._death)

    def dies_after(self, commits: int) -> asyncio.Event:
        """Stop the worker after that many more commits of its own. The event is set then."""
        self._access.opened()
        return self._death.after(whole_number(commits, "commits"), {Place.COMMIT})

    async def crash(self) -> None:
        """Lose the worker, as if its process had been killed, and begin another one on the same database."""
        worker, time = self._access.worker, self._opened_time()
        await self._check_replays()
        assert worker is not None  # noqa: S101 - a test app is a worker
        self._skips += time.skips
        await time.close()
        await asyncio.gather(worker.abandon(), self._relaying.end(0.0))
        if not await worker.driver.attempts.nothing_runs(_LAST_WORD):
            logger.warning("an activity of the lost worker still runs: its effects may come after the crash")
        await self._kept.open()
        await self._kept.leave(worker.leases.worker)  # others need not wait until its lease expires
        await self._kept.close()
        self._time = self._access.worker = None
        await self.__aexit__(None, None, None)
        await self.__aenter__()

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def now(self) -> datetime:
        """The time of the test, in UTC."""
        return moment_of(self._clock.now())

    @property
    def skips(self) -> int:
        """How often the clock has moved by itself."""
        return self._skips + (0 if self._time is None else self._time.skips)

    async def advance(self, by: Duration) -> None:
        """Let so much time pass, and run everything that falls due meanwhile, each at its time.

        First, everything that is due now runs, and executing activities end. In a fake of an activity, time passes
        while that activity executes.
        """
        time = self._opened_time()
        length = round(seconds(by, "the time to advance by") * 1_000_000)
        await time.advance(length, executing=entered_activity() is not None)

    async def settle(self) -> None:
        """Run everything that can run at the present time."""
        await self._opened_time().settled(executing=entered_activity() is not None)

    def hold(self) -> AbstractContextManager[None]:
        """Inside the block, the clock does not move by itself, even if a caller waits for a result."""
        return self._opened_time().held()

    def skipping(self) -> AbstractContextManager[None]:
        """Inside the block, the clock moves by itself, as it does while the test waits for a result."""
        return self._opened_time().skipping()

    def _opened_time(self) -> Time:
        self._access.opened()
        assert self._time is not None  # noqa: S101 - an open app has its time
        return self._time

    async def outcome(self, instance_id: str, watch: Watch, recorded: int, timeout: float | None) -> RunEnd:
        """The end of an instance. The clock may move while the caller waits for it.

        Raises AssertionError, which says what is open, once nothing is due and nothing has happened for five seconds.
        """
        outcome = await self._opened_time().result_of(super().outcome(instance_id, watch, recorded, timeout))
        if self._replays is not None and self._replays.in_time:
            await self._check_replays()
        return outcome

    async def report(
        self, instance_id: str, *, wait: Callable[[Any], object] | None = None, timeout: Duration | None = None
    ) -> Any:
        """The workflow's last report. With `wait`, the clock may move while the caller waits for one."""
        asked = super().report(instance_id, wait=wait, timeout=timeout)
        return await (asked if wait is None else self._opened_time().result_of(asked))

    async def _purge(self, ids: Sequence[str], until: int | None = None) -> int:
        await self._check_replays()  # their logs will be gone
        return await super()._purge(ids, until)

    async def _check_replays(self) -> None:
        if difference := await self._unlike_its_log():
            raise AssertionError(difference)

    async def _unlike_its_log(self) -> str | None:
        """What the bodies of ended instances do and their logs do not say."""
        if self._replays is None or (store := self._access.store) is None:
            return None
        return await self._replays.check(store, self._registry.also_knowing(ALL))

    def entries_of(
        self, instance_id: str, *, after: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogEntry]:
        """The log of an instance. With `follow`, the clock may move while the caller waits for the next entry."""
        entries = super().entries_of(instance_id, after=after, follow=follow)
        return self._awaited(entries) if follow else entries

    async def _awaited(self, entries: AsyncIterator[LogEntry]) -> AsyncIterator[LogEntry]:
        while True:
            with self._opened_time().awaited():
                try:
                    entry = await anext(entries)
                except StopAsyncIteration:
                    return
            yield entry

    # ── what is left open ───────────────────────────────────────────────────────────────────────────────────────

    async def _note_what_is_open(self, error: Exception) -> None:
        """Add the open instances to a test's error, as a note. Never raises."""
        try:
            for told in await self._open():
                error.add_note(told)
        except RomancyError:
            pass  # the error of the test matters more

    async def _open(self) -> list[str]:
        page = await self.list_instances(status=_OPEN, limit=_MOST_TOLD + 1)
        told: list[str] = []
        for instance in page.instances[:_MOST_TOLD]:
            reasons = await self.explain(instance.instance_id)
            told.append(f"open: instance {instance.instance_id} of workflow {instance.workflow_name}. {reasons[0]}")
        if len(page.instances) > _MOST_TOLD:
            told.append("open: more instances")
        return told

    async def _say_what_is_open(self) -> str:
        told = [
            "the test waits, and nothing is due: nothing will happen unless the test sends something",
            *await self._open(),
        ]
        return "\n".join(told)


def _microseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise UsageError(f"the time of a test needs a time zone: {moment!r} could be any; use datetime(…, tzinfo=UTC)")
    return at_of(moment)
