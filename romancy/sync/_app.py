"""The app, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from romancy.app import Romancy
from romancy.sync._asked import SyncAsked
from romancy.sync._calling import Keeper
from romancy.sync._handle import SyncHandle
from romancy.sync._instances import SyncInstances
from romancy.sync._schedule import SyncScheduleHandle
from romancy.sync._senders import SyncSenders
from romancy.sync._window import SyncWindowHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from typing import Self, Unpack

    from romancy._schedule_options import ScheduleKeywords
    from romancy.checking import Check
    from romancy.event import EventType
    from romancy.hooks import Hook
    from romancy.kept_logs import KeepLogs
    from romancy.outbox import Relay
    from romancy.query import FiltersToAct, FilterValue, InstanceFilter
    from romancy.request import RequestType
    from romancy.retry import Duration, RetryPolicy
    from romancy.schedules.handle import Schedule
    from romancy.serialization import Codecs, PayloadCodec
    from romancy.starting.checks import IfExists
    from romancy.storage.passwords import PasswordSource
    from romancy.windows.records import Kind
    from romancy.workflow import Call, Workflow


__all__ = ["SyncRomancy"]

P = ParamSpec("P")
D = TypeVar("D")
R = TypeVar("R")
T = TypeVar("T")


class SyncRomancy(Keeper, SyncInstances, SyncSenders):
    """Durable workflows on the database at `url`. Open it with `with`.

    `keep_logs="INFO"` keeps what bodies and activities log for the pages of their instances; `KeepLogs` says how much.
    Lists are read from the standby at `read_url`. What nobody receives within `keep_undelivered` is removed. Writes end
    after `answer_within`, and opening after `connect_timeout`. `migrate=False` refuses missing or old tables.
    """

    def __init__(
        self,
        url: str,
        *,
        password: PasswordSource | None = None,
        read_url: str | None = None,
        workflows: Iterable[Workflow[..., Any]] | None = None,
        retry: RetryPolicy | None = None,
        worker: bool = True,
        worker_id: str | None = None,
        lease: float = 30.0,
        max_activities: int = 1000,
        max_threads: int = 40,
        max_live: int = 10000,
        sticky: int = 1000,
        warn_when_blocked: Duration | None = 1.0,
        drain_timeout: float = 5.0,
        hooks: Iterable[Hook] = (),
        codecs: Codecs | Iterable[PayloadCodec] = (),
        check_at_start: bool = True,
        log_error_text: bool = True,
        keep_logs: KeepLogs | str | None = None,
        relay: Relay | None = None,
        keep_undelivered: Duration | None = 7 * 86400.0,
        answer_within: Duration = 10.0,
        connect_timeout: Duration | None = None,
        migrate: bool = True,
    ) -> None:
        """`codecs` encode payloads before they are stored, in this order. `Codecs(…)` names codecs that only read.

        With `log_error_text=False`, log lines name exceptions without texts. `password` is called for each connection.
        """
        super().__init__(
            lambda: Romancy(
                url,
                password=password,
                read_url=read_url,
                workflows=workflows,
                retry=retry,
                worker=worker,
                worker_id=worker_id,
                lease=lease,
                max_activities=max_activities,
                max_threads=max_threads,
                max_live=max_live,
                sticky=sticky,
                warn_when_blocked=warn_when_blocked,
                drain_timeout=drain_timeout,
                hooks=hooks,
                codecs=codecs,
                check_at_start=check_at_start,
                log_error_text=log_error_text,
                keep_logs=keep_logs,
                relay=relay,
                keep_undelivered=keep_undelivered,
                answer_within=answer_within,
                connect_timeout=connect_timeout,
                migrate=migrate,
            )
        )

    @property
    def url(self) -> str:
        """The URL of the database. It may hold a password: do not log it."""
        result: str = self._target.url
        return result

    @property
    def password(self) -> PasswordSource | None:
        """The function that gives the password for each new connection, if there is one."""
        result: PasswordSource | None = self._target.password
        return result

    @property
    def read_url(self) -> str | None:
        """The URL of the standby from which lists are read, if there is one. It may hold a password."""
        result: str | None = self._target.read_url
        return result

    @property
    def connect_timeout(self) -> float | None:
        """How many seconds opening waits for the database. None: a worker waits for 60, and others do not wait."""
        result: float | None = self._target.connect_timeout
        return result

    @property
    def codecs(self) -> Codecs:
        """The codecs around what the app stores."""
        result: Codecs = self._target.codecs
        return result

    @property
    def workflows(self) -> Mapping[str, Workflow[..., Any]]:
        """The workflows that this app knows, by name. Without a `workflows` option, those declared so far."""
        result: Mapping[str, Workflow[..., Any]] = self._target.workflows
        return result

    @property
    def is_draining(self) -> bool:
        """Whether `drain()` was called: this app's worker takes on no more work."""
        result: bool = self._target.is_draining
        return result

    def workflow(self, name: str) -> Workflow[..., Any]:
        """The workflow of that name, to be started, by the name alone if this app does not have its code.

        Its arguments are then given by name, and its result is plain JSON. Instances wait for a worker that knows it.
        """
        return self._target.workflow(name)

    def with_worker(
        self, *, only: Iterable[str] | None = None, max_activities: int | None = None, check_replay: bool = False
    ) -> Self:
        """Give this app a worker although it was made with `worker=False`, as `romancy run` does. Returns the app.

        The worker takes instances of the workflows that `only` names. With `check_replay`, each instance is replayed
        after its end, in a copy of the process, and a warning in the log names what its body does differently, as
        `romancy dev` does. Raises UsageError when the app is open already, or knows no workflow of such a name.
        """
        self._target.with_worker(only=only, max_activities=max_activities, check_replay=check_replay)
        return self

    def drain(self, timeout: Duration = 30.0) -> None:
        """Take on no more work, let running activities end within `timeout`, and release every instance.

        Other workers take the instances over at once. Starting and querying still work; instances started here from now
        on wait for other workers. Closing the app drains it too, for at most `drain_timeout` seconds.
        """
        self._call("drain", timeout)

    @overload
    def start(self, wf: Workflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SyncHandle[T]: ...

    @overload
    def start(
        self, wf: Workflow[..., T], /, *args: Any, session: object, if_exists: IfExists = "return", **kwargs: Any
    ) -> SyncHandle[T]: ...

    @overload
    def start(self, wf: Workflow[..., T], /, *args: Any, if_exists: IfExists, **kwargs: Any) -> SyncHandle[T]: ...

    @overload
    def start(self, wf: str, /, *args: Any, **kwargs: Any) -> SyncHandle[Any]: ...

    def start(self, wf: Workflow[Any, Any] | str, /, *args: Any, **kwargs: Any) -> SyncHandle[Any]:
        """Start a workflow, given as such or by name (`app.workflow(name)`). It is durable when this returns.

        With an instance id of yours (`wf.options(instance_id=…)`), starting again returns the same instance, open or
        ended, if the workflow and the input are the same. If they are not, InstanceConflictError is raised.
        `if_exists="refuse"` raises it for every taken id, also if an earlier call of yours took the id and its answer
        was lost. A call that may be repeated therefore needs the default.

        `if_exists="restart_ended"` replaces an ended instance of the same workflow by a new one with this input.
        `"restart_failed"` does so only if the instance failed or was cancelled. One commit does both, so that the id is
        never free. The log, the result and the messages of the old instance are removed. In all other cases both do as
        the default does. `"replace"` also replaces an open instance: it is terminated first, with its open children,
        and nothing is undone. It cannot be given with `session=`.

        If the call is cancelled, or the database does not answer in time, the start is withdrawn: it does not happen
        later. Only one that was sent, and whose answer is missing, may have happened; `app.handle(instance_id)` finds
        it by an id of yours.

        With `session=`, a connection or session in a transaction of your own, your commit makes the start durable. A
        workflow with a parameter named `session` or `if_exists` gets it as an argument. For such a workflow use
        `start_many([wf.bind(…)], session=…)`, which also keeps the types of the arguments.
        """
        return SyncHandle(self, self._call("start", wf, *args, **kwargs))

    def start_many(
        self, calls: Iterable[Call[T]], /, *, session: object = None, if_exists: IfExists = "return"
    ) -> list[SyncHandle[T]]:
        """Start several workflows, each as `start` does; with `session=`, in your own transaction.

        Without `session=`, they are written together: up to 1,000 starts (4 MB) in one commit, more in several. This is
        for speed and is not atomic. If an id is taken by another workflow or input, the other instances are started,
        and one InstanceConflictError names all such ids (`conflicts`) and all instances that exist now (`started`).
        Repeating the call with a corrected list is safe if the ids are yours. Arguments that do not fit start nothing.
        """
        return [SyncHandle(self, one) for one in self._call("start_many", calls, session=session, if_exists=if_exists)]

    @overload
    def run(self, wf: Workflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    def run(self, wf: Workflow[..., T], /, *args: Any, if_exists: IfExists, **kwargs: Any) -> T: ...

    @overload
    def run(self, wf: str, /, *args: Any, **kwargs: Any) -> Any: ...

    def run(self, wf: Workflow[Any, Any] | str, /, *args: Any, **kwargs: Any) -> Any:
        """Start a workflow and return its result."""
        return self._call("run", wf, *args, **kwargs)

    def signal_with_start(
        self,
        call: Call[T],
        event: EventType[Any] | str,
        data: object = None,
        /,
        *,
        key: str | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> SyncHandle[T]:
        """Send a signal to an instance (`wf.options(instance_id=…).bind(…)`), and start it first if it does not exist.

        One commit starts the instance with the signal in its inbox. An existing instance keeps its input. An instance
        of another workflow raises InstanceConflictError, and an ended one InstanceEndedError. With an `id` any caller
        may repeat the call: the signal is delivered once.

        With `if_exists="restart_ended"` or `"restart_failed"` an ended instance is replaced as in `start`, unless it
        has received this very signal. `"refuse"` and `"replace"` raise UsageError.

        A start that finds no place under a limit with `full="skip"` raises StartSkippedError, as in `start`.
        """
        return SyncHandle(self, self._call("signal_with_start", call, event, data, key=key, id=id, if_exists=if_exists))

    @overload
    def ask_with_start(
        self,
        call: Call[Any],
        type: RequestType[None, R],
        data: None = None,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> SyncAsked[R]: ...

    @overload
    def ask_with_start(
        self,
        call: Call[Any],
        type: RequestType[D, R],
        data: D,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> SyncAsked[R]: ...

    @overload
    def ask_with_start(
        self,
        call: Call[Any],
        type: str,
        data: object = None,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> SyncAsked[Any]: ...

    def ask_with_start(
        self,
        call: Call[Any],
        type: RequestType[Any, Any] | str,
        data: object = None,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> SyncAsked[Any]:
        """Send a request to an instance, as `ask` does, and start it first if it does not exist.

        One commit starts the instance with the request in its inbox. All else is as in `signal_with_start`.
        """
        return SyncAsked(self, self._call("ask_with_start", call, type, data, id=id, if_exists=if_exists))

    @overload
    def request_with_start(
        self,
        call: Call[Any],
        type: RequestType[None, R],
        data: None = None,
        /,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> R: ...

    @overload
    def request_with_start(
        self,
        call: Call[Any],
        type: RequestType[D, R],
        data: D,
        /,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> R: ...

    @overload
    def request_with_start(
        self,
        call: Call[Any],
        type: str,
        data: object = None,
        /,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> Any: ...

    def request_with_start(
        self,
        call: Call[Any],
        type: RequestType[Any, Any] | str,
        data: object = None,
        /,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> Any:
        """Send a request to an instance, start it first if it does not exist, and return the reply."""
        return self._call("request_with_start", call, type, data, timeout=timeout, id=id, if_exists=if_exists)

    def schedule(
        self, schedule_id: str, call: Call[Any], /, *, session: object = None, **options: Unpack[ScheduleKeywords]
    ) -> SyncScheduleHandle:
        """Start this workflow, with these arguments, at each time that `cron=`, `every=` or `at=` names.

        `call` is `workflow.bind(…)`, with the options of its runs. The schedule is durable when this returns, and any
        worker that knows the workflow keeps it. Calling again with the same id changes nothing if nothing differs;
        otherwise the new definition holds from now on. A run's id is that of the schedule, `@` and the time, and the
        run reads the time as `ctx.scheduled_at`.

        `overlap` says what becomes of a tick that comes while a run is open: "skip" drops it, "buffer_one" keeps one
        until that run has ended, "allow" starts it. `catchup` is for ticks that came while no worker ran: "one" starts
        the last one, "all" all of them, "none" only one that is less than a minute late, and a duration those that are
        not later. With `pause_on_failure=True`, a failed run pauses the schedule. `jitter` puts each start off by a
        random part of it. Nothing is due before `start` and after `end`.

        With `session=`, a connection or session in a transaction of your own, your commit declares it.
        """
        return SyncScheduleHandle(self, self._call("schedule", schedule_id, call, session=session, **options))

    def schedule_handle(self, schedule_id: str) -> SyncScheduleHandle:
        """A handle of a schedule, wherever it was declared."""
        return SyncScheduleHandle(self, self._call("schedule_handle", schedule_id))

    def schedules(self) -> list[Schedule]:
        """All schedules, by id. Raises CodecError if one was written with a codec that this app does not have."""
        result: list[Schedule] = self._call("schedules")
        return result

    def debounce(
        self,
        call: Call[T],
        key: str | int,
        /,
        *,
        wait: Duration,
        max_wait: Duration | None = None,
        id: str | None = None,
        session: object = None,
    ) -> SyncWindowHandle[T]:
        """Start this workflow once calls for this key have rested for `wait`, with the arguments of the last call.

        `call` is `workflow.bind(…)`, with the options of the start. The call is durable when this returns, and any
        worker that knows the workflow starts it: once for all calls of a window, which opens with the first of them. If
        they do not rest, it closes `max_wait` after the first. `wait` and `max_wait` are those of the last call.

        With an `id` of yours, a repeated call has no effect; that is remembered for at least five minutes. With
        `session=`, a connection or session in a transaction of your own, your commit makes the call.
        """
        return SyncWindowHandle(
            self, self._call("debounce", call, key, wait=wait, max_wait=max_wait, id=id, session=session)
        )

    def batch(
        self,
        wf: Workflow[..., T],
        item: object,
        key: str | int,
        /,
        *,
        size: int,
        within: Duration,
        id: str | None = None,
        session: object = None,
    ) -> SyncWindowHandle[T]:
        """Start this workflow with a list of items: once `size` of them have come for this key, or `within` is over.

        `wf` takes one list, and `item` is one of its members. They have the order in which the database received them.
        The time counts from the first one. A batch also closes when its items have 750 kB together, and an item of more
        than a megabyte is refused. Everything else is as in `debounce`.
        """
        return SyncWindowHandle(
            self, self._call("batch", wf, item, key, size=size, within=within, id=id, session=session)
        )

    def window_handle(self, kind: Kind, wf: str, key: str | int, /) -> SyncWindowHandle[Any]:
        """A handle of the window of "debounce" or "batch" calls for this workflow, by its name, and this key."""
        return SyncWindowHandle(self, self._call("window_handle", kind, wf, key))

    @overload
    def handle(self, instance_id: str, wf: None = None, /) -> SyncHandle[Any]: ...

    @overload
    def handle(self, instance_id: str, wf: Workflow[..., T] | None, /) -> SyncHandle[T]: ...

    def handle(self, instance_id: str, wf: Workflow[..., Any] | None = None, /) -> SyncHandle[Any]:
        """A handle of an instance, wherever it was started. Give the workflow to get a typed result."""
        return SyncHandle(self, self._call("handle", instance_id, wf))

    def check(
        self, where: Mapping[str, FilterValue] | InstanceFilter | None = None, /, **filters: Unpack[FiltersToAct]
    ) -> Check:
        """Replay every open instance, or those that match, and report those that this app's code does not fit.

        Use it in a deployment before the new workers start: give the new code to an app with `worker=False`. Nothing is
        written and no activity runs. The bodies of workflows run up to the end of each log.
        """
        result: Check = self._call("check", where, **filters)
        return result

    def override(self, provider: Callable[[], Any], replacement: Callable[[], Any]) -> AbstractContextManager[None]:
        """Give activities the result of `replacement` wherever they ask for `provider`. For tests."""
        return self._target.override(provider, replacement)
