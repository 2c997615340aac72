"""What workflows report: the last report, and the first one from now on that a caller waits for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from romancy.core import ProgressReported, WorkflowStarted
from romancy.declaring.callables import is_async
from romancy.errors import InstanceEndedError, InstanceNotFoundError, StorageUnavailableError, UsageError
from romancy.log import LogCursor, follow_log, read_log
from romancy.retry import seconds
from romancy.serialization import loads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from romancy.retry import Duration
    from romancy.storage.protocol import Store

__all__ = ["AwaitedReport", "report_of"]

_PAUSE: Final = 0.5
"""Seconds between two attempts to reach the database."""


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
