"""The app, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from romancy.app import Romancy
from romancy.sync._calling import Keeper
from romancy.sync._entities import SyncEntities
from romancy.sync._handle import SyncHandle
from romancy.sync._instances import SyncInstances
from romancy.sync._schedules import SyncSchedules
from romancy.sync._senders import SyncSenders
from romancy.sync._windows import SyncWindows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from typing import Literal, Self, Unpack

    from romancy.checking import Check
    from romancy.hooks import Hook
    from romancy.kept_logs import KeepLogs
    from romancy.outbox import Relay
    from romancy.query import FiltersToAct, FilterValue, InstanceFilter
    from romancy.retention import Retention
    from romancy.retry import Duration, RetryPolicy
    from romancy.serialization import Codecs, PayloadCodec
    from romancy.storage.passwords import PasswordSource
    from romancy.workflow import Workflow


__all__ = ["SyncRomancy"]

T = TypeVar("T")


class SyncRomancy(Keeper, SyncWindows, SyncSchedules, SyncEntities, SyncInstances, SyncSenders):
    """Durable workflows on the database at `url`. Open it with `with`.

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

    def __init__(
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
        max_live: int = 10000,
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
        keep_undelivered: Duration | None = 7 * 86400.0,
        keep_streams: Duration | None = 86400.0,
        answer_within: Duration = 10.0,
        connect_timeout: Duration | None = None,
        migrate: bool = True,
    ) -> None:
        """`codecs` encode payloads before they are stored, in this order. `Codecs(…)` names codecs that only read."""
        super().__init__(
            lambda: Romancy(
                url,
                password=password,
                read_url=read_url,
                workflows=workflows,
                retry=retry,
                worker=worker,
                worker_id=worker_id,
                release=release,
                pin=pin,
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
                retention=retention,
                relay=relay,
                keep_undelivered=keep_undelivered,
                keep_streams=keep_streams,
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
    def release(self) -> str:
        """The name of the release: `release=`, or the version of the distribution of its workflows; else empty."""
        result: str = self._target.release
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
    def is_draining(self) -> bool:
        """Whether `drain()` was called: this app's worker takes on no more work."""
        result: bool = self._target.is_draining
        return result

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
        result: AbstractContextManager[None] = self._target.override(provider, replacement)
        return result
