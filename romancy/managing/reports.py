"""What workflows report: the last report, and the first one from now on that a caller waits for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from romancy.core import NULL, ProgressReported, WorkflowStarted, decode_commit
from romancy.declaring.callables import is_async
from romancy.errors import CodecError, InstanceEndedError, InstanceNotFoundError, StorageUnavailableError, UsageError
from romancy.log import LogCursor, follow_log, read_log
from romancy.retry import seconds
from romancy.serialization import loads, refuse_sealed
from romancy.status import TERMINAL_STATUSES
from romancy.storage.any_store import last_commits_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from msgspec import Raw

    from romancy.retry import Duration
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["NEAR", "AwaitedReport", "report_of", "reports_of", "stored_report"]

_PAUSE: Final = 0.5
"""Seconds between two attempts to reach the database."""
NEAR: Final = 8
"""How many commits of each instance are looked at, from the end, before its log is read."""


class AwaitedReport(NamedTuple):
    """The report that a caller waits for: the first one for which `wait` is true."""

    wait: Callable[[Any], object]
    timeout: float | None

    @classmethod
    def of(cls, wait: Any, timeout: Duration | None) -> AwaitedReport | None:
        """What the caller waits for; None if it does not wait. Raises UsageError if `wait` cannot be asked."""
        if wait is None:
            if timeout is not None:
                raise UsageError("timeout= of a report needs wait=, which says what report is waited for")
            return None
        if not callable(wait) or is_async(wait):
            raise UsageError(
                "wait= of a report must be a plain function: it gets a report and returns whether it will do"
            )
        return cls(wait, None if timeout is None else seconds(timeout, "timeout"))


def _value(event: ProgressReported, instance_id: str) -> Any:
    return loads(event.state, Any, f"report of instance {instance_id}")


async def report_of(store: Store, instance_id: str, awaited: AwaitedReport | None) -> Any:
    """The last report of the present run, None if there was none; or the report that is waited for.

    Raises TimeoutError if that one does not come in time, and InstanceEndedError if the instance ends without one.
    """
    if awaited is None:
        last, _ = await _last(store, instance_id)
        return None if last is None else _value(last, instance_id)
    scope = asyncio.timeout(awaited.timeout)
    try:
        async with scope, aclosing(_from_the_last(store, instance_id)) as events:
            async for event in events:
                if awaited.wait(value := _value(event, instance_id)):
                    return value
    except TimeoutError:
        if not scope.expired():
            raise
        raise TimeoutError(
            f"instance {instance_id} made no report that wait= accepts within {awaited.timeout:g} s; it goes on"
        ) from None
    found = await store.read(instance_id, limit=0)
    status = "" if found is None else str(found.instance.status)
    raise InstanceEndedError(
        f"instance {instance_id} has ended{f' ({status})' if status else ''}, and no report that wait= accepts came",
        instance_id=instance_id,
        status=status,
    )


async def stored_report(store: Store, instance_id: str) -> Raw:
    """The last report of the present run, as stored; null if there was none."""
    last, _ = await _last(store, instance_id)
    return NULL if last is None else last.state


async def reports_of(store: Store, rows: Sequence[InstanceRow]) -> dict[str, Any]:
    """By id, the last report of the present run of each instance, or the CodecError of one that cannot be read here.

    Instances without a report are left out. Most reports are in one of the last commits, so a statement looks at the
    same place in the logs of all instances. Only of the others the logs are read, one by one.
    """
    found: dict[str, Any] = {}
    left = await _with_their_ends(store, rows)
    for _ in range(NEAR):
        commits = await last_commits_of(store, left)
        further: list[InstanceRow] = []
        for row in left:
            commit = commits.get(row.instance_id)
            if commit is None:
                continue  # it was removed meanwhile
            try:
                report, begins = _last_in(commit.body, row.instance_id)
            except CodecError as error:
                found[row.instance_id] = error
                continue
            if report is not None:
                found[row.instance_id] = _value(report, row.instance_id)
            elif not begins and row.last_seq > row.run_from:
                further.append(replace(row, last_seq=row.last_seq - 1))
        left = further
    for row in left:
        with suppress(InstanceNotFoundError):
            report, _ = await _last(store, row.instance_id)
            if report is not None:
                found[row.instance_id] = _value(report, row.instance_id)
    return found


async def _with_their_ends(store: Store, rows: Sequence[InstanceRow]) -> list[InstanceRow]:
    """The rows, each with the last seq of its log: while an instance is owned, its row does not say it.

    It is searched for in steps that double, and then halve: a statement for all of them, twenty times for a thousand
    commits.
    """
    there = {row.instance_id: row for row in rows}
    beyond: dict[str, int] = {}
    steps = {row.instance_id: 1 for row in rows if row.status not in TERMINAL_STATUSES}
    while steps:
        probes = [replace(there[one], last_seq=there[one].last_seq + step) for one, step in steps.items()]
        commits = await last_commits_of(store, probes)
        for probe in probes:
            one = probe.instance_id
            if one in commits:
                there[one] = probe
            else:
                beyond[one] = probe.last_seq
            step = steps[one] * 2 if one not in beyond else (beyond[one] - there[one].last_seq) // 2
            steps[one] = step
            if step == 0:
                del steps[one]
    return [*there.values()]


def _last_in(commit: bytes, instance_id: str) -> tuple[ProgressReported | None, bool]:
    """The last report of a commit, and whether a run begins behind it."""
    refuse_sealed(commit, "commit", f"log of instance {instance_id}")
    for event in reversed(decode_commit(commit)):
        if isinstance(event, ProgressReported):
            return event, False
        if isinstance(event, WorkflowStarted):
            return None, True
    return None, False


async def _last(store: Store, instance_id: str) -> tuple[ProgressReported | None, LogCursor | None]:
    """The last report of the present run, and where the log ended when it was read."""
    last: ProgressReported | None = None
    position: LogCursor | None = None
    async for entry in read_log(store, instance_id):
        position = LogCursor.parse(entry.cursor)
        if isinstance(entry.event, WorkflowStarted):
            last = None
        elif isinstance(entry.event, ProgressReported):
            last = entry.event
    return last, position


async def _once_it_answers(store: Store, instance_id: str) -> tuple[ProgressReported | None, LogCursor | None]:
    while True:
        try:
            return await _last(store, instance_id)
        except StorageUnavailableError:
            await asyncio.sleep(_PAUSE)


async def _from_the_last(store: Store, instance_id: str) -> AsyncGenerator[ProgressReported]:
    """The last report, and later ones until the instance has ended. Waits while the database is away."""
    last, after = await _once_it_answers(store, instance_id)
    if last is not None:
        yield last
    while True:
        try:
            async with aclosing(follow_log(store, instance_id, after)) as entries:
                async for entry in entries:
                    after = LogCursor.parse(entry.cursor)
                    if isinstance(entry.event, ProgressReported):
                        yield entry.event
        except InstanceNotFoundError:
            raise
        except UsageError:
            after = None  # a new run has pruned what followed: all that is left is later
        else:
            return
