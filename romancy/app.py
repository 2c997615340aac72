"""The app: a store, the workflows known here, and a worker unless `worker=False`."""

from __future__ import annotations

import asyncio
import functools
from contextlib import contextmanager
from dataclasses import replace as replaced
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from msgspec.structs import replace

from romancy._access import Access
from romancy._errands import AppErrands
from romancy._expected_options import OF_APPS, answer_options
from romancy._interrupts import closed_by
from romancy._lists import lists_of
from romancy._logs import get_logger
from romancy._named_workflows import chosen_workflows
from romancy._options import hooks_of, label, password_source, some_time, some_time_or_ever, times, yes_or_no
from romancy._release import release_of
from romancy.built_in import ALL, known_here, with_built_in
from romancy.checking import Check, check_open
from romancy.declaring.expected_names import NAMES_OF_APPS, answer_names, refuse_with
from romancy.depends import Dependencies
from romancy.engine import Dispatcher, LogWriter, Settings, ToldToStop, Worker, coded, goes_on, opened
from romancy.engine.announcing import Announcer
from romancy.errors import UsageError
from romancy.handle import Handle
from romancy.kept_logs import what_to_keep
from romancy.managing.instances import Instances
from romancy.messages.mailer import Mailer
from romancy.messages.senders import Senders
from romancy.other_instance import errands_here
from romancy.outbox.beside import Beside
from romancy.query import InstanceFilter
from romancy.registry import Registry
from romancy.replaying.at_end import UnreplayedEnds
from romancy.replaying.at_start import tell_misfits
from romancy.results.listening import listen
from romancy.results.waiting import EndWaits
from romancy.results.watch import Watches
from romancy.retaining.keeping import Retaining, mark_of, rules_of
from romancy.retaining.streamed import EmptyingStreams
from romancy.retention import retention_of_app
from romancy.retry import policy, seconds, whole_number
from romancy.schedules.deploying import deploy
from romancy.schedules.keeper import keeper_of
from romancy.schedules.schedules import Schedules
from romancy.serialization import Codecs
from romancy.starting.entities import Entities
from romancy.starting.starter import Starter
from romancy.storage.backends import create_store
from romancy.storage.services import Service
from romancy.storage.url import parse_url
from romancy.windows.asking import Asking
from romancy.windows.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from romancy.core import Activation
    from romancy.hooks import Hook
    from romancy.kept_logs import KeepLogs
    from romancy.outbox import Relay
    from romancy.query import FiltersToAct, FilterValue
    from romancy.retaining.keeping import Rule
    from romancy.retention import Retention
    from romancy.retry import Duration, RetryPolicy
    from romancy.serialization import PayloadCodec
    from romancy.storage.passwords import PasswordSource
    from romancy.storage.protocol import Store
    from romancy.workflow import Workflow

__all__ = ["Romancy"]

logger = get_logger("romancy")

P = ParamSpec("P")
D = TypeVar("D")
R = TypeVar("R")
T = TypeVar("T")


class Romancy(Windows, Schedules, Entities):
    """Durable workflows on the database at `url`. Open it with `async with`.

    `keep_logs="INFO"` keeps what bodies and activities log for the pages of their instances; `KeepLogs` says how much.
    `retention=Retention(completed="30d")` removes what ended longer ago; without it, a new database has its default,
    and with None all stays. Lists are read from the standby at `read_url`.
    What nobody receives within `keep_undelivered` is removed, and what streams hold `keep_streams` after the end of
    their instance. Writes end after `answer_within`, and opening after `connect_timeout`. `migrate=False` refuses
    missing or old tables. With `log_error_text=False`, log lines name exceptions without texts. `password` is called
    for each connection.
    `release="2026.11.2"` is its name in lists of workers and failures. With `pin=True`, an instance is left to live
    workers of the code that it follows.
    """

    _tasks: list[asyncio.Task[None]]
    _retention: Retention | Literal["default"] | None
    _told: ToldToStop | None = None
    """What waits until the process is told to stop."""
    _ends: UnreplayedEnds | None = None  # those to be replayed, for a worker that checks them
    _rules: Sequence[Rule] = ()
    """By which rules its worker removes what is over."""
    _keeps_schedules = True
    """Whether its worker keeps the schedules and the windows of the database."""
    _deploys_schedules = True
    """Whether its worker declares those that the code names."""

    def __init__(  # noqa: PLR0913 - every choice of the user's
        self,
        url: str,
        *,
        password: PasswordSource | None = None,
        read_url: str | None = None,
        workflows: Iterable[Workflow[..., Any] | type] | None = None,
        retry: RetryPolicy | None = None,
        worker: bool = True,
        worker_id: str | None = None,
        release: str | None = None,
        pin: bool = False,
        lease: float = 30.0,
        max_activities: int = 1000,
        max_threads: int = 40,
        max_live: int = 10_000,
        sticky: int = 1000,
        warn_when_blocked: Duration | None = 1.0,
        drain_timeout: float = 5.0,
        hooks: Iterable[Hook] = (),
        codecs: Codecs | Iterable[PayloadCodec] = (),
        check_at_start: bool = True,
        log_error_text: bool = True,
        keep_logs: KeepLogs | str | None = None,
        retention: Retention | Literal["default"] | None = "default",
        relay: Relay | None = None,
        keep_undelivered: Duration | None = 7 * 86_400.0,
        keep_streams: Duration | None = 86_400.0,
        answer_within: Duration = 10.0,
        connect_timeout: Duration | None = None,
        migrate: bool = True,
    ) -> None:
        """`codecs` encode payloads before they are stored, in this order. `Codecs(…)` names codecs that only read."""
        self._url, self._read_url, self._password = url, read_url, password_source(password)
        self._workflows, self.relay, self._relaying = workflows, relay, Beside(relay)
        self._works, self._checks, self._migrates = worker, check_at_start, yes_or_no(migrate, "migrate")
        self._release, self._retention = label(release, "release"), retention_of_app(retention)
        self._connect_timeout = some_time_or_ever(connect_timeout, "connect_timeout")
        self._keep_undelivered, self._keep_streams = times(keep_undelivered=keep_undelivered, keep_streams=keep_streams)
        self._codecs, self._drain_timeout = Codecs.of(codecs), seconds(drain_timeout, "drain_timeout")
        self._settings = Settings.chosen(
            worker_id=label(worker_id, "worker_id"),
            lease=some_time(lease, "lease"),
            retry=policy(retry),
            max_activities=whole_number(max_activities, "max_activities"),
            max_threads=whole_number(max_threads, "max_threads"),
            max_live=whole_number(max_live, "max_live"),
            sticky=whole_number(sticky, "sticky", 0),
            warn_when_blocked=None if warn_when_blocked is None else seconds(warn_when_blocked, "warn_when_blocked"),
            hooks=hooks_of(hooks),
            log_error_text=yes_or_no(log_error_text, "log_error_text"),
            keep_logs=what_to_keep(keep_logs),
            pin=yes_or_no(pin, "pin"),
            codecs=self._codecs,
        )
        mailer = Mailer(access := Access(some_time(answer_within, "answer_within")), Announcer.of(self._settings.hooks))
        Instances.__init__(self, access, mailer, Watches(access))
        Senders.__init__(self, access, mailer)
        self._tasks, self._registry, self.dependencies = [], Registry(), Dependencies()
        self.dependencies.provide(errands_here, AppErrands(self, access, mailer, self._ask_entity))

    @property
    def url(self) -> str:
        """The URL of the database. It may hold a password: do not log it."""
        return self._url

    @property
    def password(self) -> PasswordSource | None:
        """The function that gives the password for each new connection, if there is one."""
        return self._password

    @property
    def release(self) -> str:
        """The name of the release: `release=`, or the version of the distribution of its workflows; else empty."""
        if self._release is not None:
            return self._release
        return release_of(workflow.fn.__module__ for workflow in self.workflows.values())

    @property
    def read_url(self) -> str | None:
        """The URL of the standby from which lists are read, if there is one. It may hold a password."""
        return self._read_url

    @property
    def connect_timeout(self) -> float | None:
        """How many seconds opening waits for the database. None: a worker waits for 60, and others do not wait."""
        return self._connect_timeout

    @property
    def codecs(self) -> Codecs:
        """The codecs around what the app stores."""
        return self._codecs

    @property
    def is_open(self) -> bool:
        """Whether the app is inside its `async with`."""
        return self._access.store is not None

    @property
    def is_draining(self) -> bool:
        """Whether `drain()` was called: this app's worker takes on no more work."""
        return self._access.worker is not None and self._access.worker.draining

    def as_client(self) -> Romancy:
        """A new app on the same database, with the same workflows and codecs and without a worker."""
        said = self._settings
        return Romancy(
            self._url,
            password=self._password,
            read_url=self._read_url,
            workflows=self.workflows.values(),
            worker=False,
            hooks=said.hooks,
            codecs=self._codecs,
            log_error_text=said.speaker.error_text,
            answer_within=self._access.deadlines.seconds,
            migrate=self._migrates,
        )

    def with_worker(
        self, *, only: Iterable[str] | None = None, max_activities: int | None = None, check_replay: bool = False
    ) -> Self:
        """Give this app a worker although it was made with `worker=False`, as `romancy run` does. Returns the app.

        The worker takes instances of the workflows that `only` names. With `check_replay`, each instance is replayed
        after its end, in a copy of the process, and a warning in the log names what its body does differently, as
        `romancy dev` does. Raises UsageError when the app is open already, or knows no workflow of such a name.
        """
        if self.is_open:
            raise UsageError("this app is open already: ask for a worker before it is opened")
        if only is not None:
            self._workflows = chosen_workflows(self.workflows, only)
        if max_activities is not None:
            most = whole_number(max_activities, "max_activities")
            self._settings = replace(self._settings, max_activities=most)
        self._works = True
        self._ends = UnreplayedEnds() if check_replay else None
        return self

    # ── opening and closing ─────────────────────────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Self:
        if self.is_open:
            raise UsageError("this app is open already; make another one for a second connection")
        self._registry = replaced(Registry.collect(self._workflows), release=self.release)
        self._keeper = keeper_of(self._registry.workflows)
        new, where = functools.partial(create_store, self._url, password=self._password), str(parse_url(self._url))
        made = lambda: coded(new(), self._codecs)  # noqa: E731 - it is called below only
        store = await opened(made, where, patient=self._works, within=self._connect_timeout, migrate=self._migrates)
        try:
            lists = await lists_of(store, self._read_url, self._password, self._codecs)
            try:
                await self._begin(store)
            except BaseException:
                await lists.close()
                raise
        except BaseException:
            await store.close()
            raise
        self._access.open(store, asyncio.get_running_loop(), lists)
        self._access.registry = self._registry
        if self._works and self._deploys_schedules:
            self._tasks.append(asyncio.create_task(deploy(self, self._registry.workflows, self._declare)))
        if self._rules and self._access.worker is not None and Service.READING in store.services.offered:
            retaining = Retaining(store, self._access.worker, self._rules, self._purge_all_as_found)
            self._tasks.append(asyncio.create_task(retaining.run()))
        if self._emptied is not None and self._access.worker is not None and EmptyingStreams.can_be(store):
            emptying = EmptyingStreams(store, self._access.worker, *self._emptied)
            self._tasks.append(asyncio.create_task(emptying.run()))
        return self

    @property
    def _emptied(self) -> tuple[int, list[str]] | None:
        """How long its worker keeps what streams of ended instances hold, in microseconds, and of which workflows."""
        return None if self._keep_streams is None else (int(self._keep_streams * 1_000_000), sorted(self.workflows))

    async def _begin(self, store: Store) -> None:
        access = self._access
        self._windows = Asking(access, self._registry.workflows)
        if self._settings.around is not None:
            store = self._settings.around(store)
        dispatcher = access.dispatcher = Dispatcher(store, self._keep_undelivered, self._settings.clock)
        if self._works:
            outbox = self._relaying.outbox_of(store)
            other = (
                functools.partial(create_store, self._url, password=self._password)
                if store.capabilities.processes
                else None
            )
            known = self._registry.also_knowing(
                known_here(self._keeper, self._windows) if self._keeps_schedules else ()
            )
            self._rules = rules_of(self._retention, known.workflows)
            worker = Worker(
                store,
                known,
                replace(self._settings, retains=mark_of(self._rules, self._emptied)),
                dependencies=self.dependencies,
                dispatcher=dispatcher,
                ended=self._ended,
                answers=access.answers,
                rewinds=goes_on,
                another=other,
            )
            worker.told_to_drain.begins = self._drain_as_asked
            await worker.open()
            access.worker, writer = worker, worker.writer
            self._relaying.begin(outbox)
            if self._checks and Service.READING in store.services.offered:
                self._tasks.append(asyncio.create_task(tell_misfits(store, worker)))
            if self._ends is not None:
                self._tasks.append(asyncio.create_task(self._ends.tell(store, self._registry.also_knowing(ALL))))
        else:
            writer = LogWriter(store)
            self._tasks.append(asyncio.create_task(writer.run()))
        self._starter = Starter(self, access, self._registry, writer, self._mailer, self._watches)
        self._windows.starter = self._starter
        self._waiting = EndWaits(access, self._settings.lease)
        self._tasks.append(
            asyncio.create_task(listen(store, access.worker, self._watches, access.answers, writer.outage))
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        access = self._access
        store, access.store = access.store, None
        if store is None:
            raise UsageError("this app is not open")
        self._starter.refuse()
        closed_by(error)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        grace = self._drain_timeout if error is None else 0.0
        if access.worker is not None:
            await asyncio.gather(access.worker.close(grace), self._relaying.end(grace))
            access.worker = None
        if access.dispatcher is not None:
            await access.dispatcher.close()
        self._starter.close()
        self._watches.close()
        await self.dependencies.close()
        await access.give_up_row(store)
        await access.close_lists()
        await store.close()

    async def drain(self, timeout: Duration = 30.0) -> None:
        """Take on no more work, let running activities end within `timeout`, and release every instance.

        Other workers take the instances over at once. Starting and querying still work; instances started here from now
        on wait for other workers. Closing the app drains it too, for at most `drain_timeout` seconds.
        """
        self._access.opened()
        if (worker := self._access.worker) is not None:
            await asyncio.gather(worker.drain(grace := seconds(timeout, "timeout")), self._relaying.end(grace))

    async def serve(self, *, drain_timeout: Duration = 30.0) -> None:
        """Work until the process is told to stop (SIGTERM, or SIGINT from Ctrl-C), then drain and return.

        Use it as the last line of a script that is only a worker. A second POSIX signal ends the process as if no
        handler were installed. Raises UsageError outside of the main thread, where no such signal arrives, and without
        a worker.
        """
        self._access.opened()
        grace = seconds(drain_timeout, "drain_timeout")
        if self._access.worker is None:
            raise UsageError(
                "serve() needs a worker, and this app was made with worker=False: leave that out, open the app with "
                "`async with app.with_worker():`, or let `romancy run MODULE:APP` run it"
            )
        with self._until_told() as told:
            await told.wait()
            logger.info("told to stop: activities have %.0f s to end", grace)
        await self.drain(grace)

    @contextmanager
    def _until_told(self) -> Generator[ToldToStop]:
        """While the block lasts, a signal and an order from another process (`romancy drain`) tell it to stop."""
        with ToldToStop() as told:
            self._told = told
            try:
                yield told
            finally:
                self._told = None

    def _drain_as_asked(self) -> None:
        """Another process has asked this worker to drain: do what a signal would do, or drain beside what else runs."""
        if self._told is not None:
            self._told.tell()
        else:
            self._tasks.append(asyncio.create_task(self.drain(self._drain_timeout)))

    def _ended(self, instance_id: str, life: int, activation: Activation | None) -> None:
        """Record that this life of the instance ended here, or got stuck. `activation` may be None if it is stuck."""
        if activation is not None and activation.outcome is not None:
            if self._ends is not None:
                self._ends.note(instance_id)
            if self._settings.ended is not None:
                self._settings.ended(instance_id)
        self._watches.ended(instance_id, life, activation)
        if self._access.answers.awaiting:
            self._access.answers.tell(instance_id)

    @overload
    def handle(self, instance_id: str, wf: None = None, /) -> Handle[Any]: ...
    @overload
    def handle(self, instance_id: str, wf: Workflow[..., T] | None, /) -> Handle[T]: ...
    def handle(self, instance_id: str, wf: Workflow[..., Any] | None = None, /) -> Handle[Any]:
        """A handle of an instance, wherever it was started. Give the workflow to get a typed result."""
        self._access.opened()
        given: Any = instance_id  # of untyped code, which may mean the workflow
        if hasattr(given, "bind"):
            raise UsageError(f"app.handle takes the id first: app.handle(instance_id, {given.name})")
        return Handle(self, instance_id, wf)

    async def check(
        self, where: Mapping[str, FilterValue] | InstanceFilter | None = None, /, **filters: Unpack[FiltersToAct]
    ) -> Check:
        """Replay every open instance, or those that match, and report those that this app's code does not fit.

        Use it in a deployment before the new workers start: give the new code to an app with `worker=False`. Nothing is
        written and no activity runs. The bodies of workflows run up to the end of each log.
        """
        return await check_open(self._access.opened(), with_built_in(self.workflows), InstanceFilter.of(where, filters))

    def override(self, provider: Callable[[], Any], replacement: Callable[[], Any]) -> AbstractContextManager[None]:
        """Give activities the result of `replacement` wherever they ask for `provider`. For tests."""
        return self.dependencies.override(provider, replacement)


refuse_with(Romancy)
answer_names(Romancy, NAMES_OF_APPS, "url")
answer_options(Romancy, OF_APPS)
