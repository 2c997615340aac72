"""What workflows report: the last report, and the first one from now on that a caller waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from romancy._callables import is_async
from romancy.core import ProgressReported, WorkflowStarted
from romancy.engine import history
from romancy.errors import InstanceEndedError, InstanceNotFoundError, UsageError
from romancy.log import Position, follow_log, read_log
from romancy.retry import seconds
from romancy.serialization import loads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from romancy.retry import Duration
    from romancy.storage.protocol import Store

__all__ = ["Awaited", "report_of"]


class Awaited(NamedTuple):
    """The report that a caller waits for: the first one for which `wait` is true."""

    wait: Callable[[Any], object]
    timeout: float | None

    @classmethod
    def of(cls, wait: Any, timeout: Duration | None) -> Awaited | None:
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


async def report_of(store: Store, instance_id: str, awaited: Awaited | None) -> Any:
    """The last report of the present run, None if there was none; or the report that is waited for."""
    return await (_last(store, instance_id) if awaited is None else _that_will_do(store, instance_id, awaited))


async def _last(store: Store, instance_id: str) -> Any:
    last: ProgressReported | None = None
    async for _, commit in history(store, instance_id):
        for event in commit:
            if isinstance(event, WorkflowStarted):
                last = None
            elif isinstance(event, ProgressReported):
                last = event
    return None if last is None else _value(last, instance_id)


async def _that_will_do(store: Store, instance_id: str, awaited: Awaited) -> Any:
    """The last report if it will do, else the first later one that does.

    Raises TimeoutError, and InstanceEndedError if the instance ends without one.
    """
    last, position = None, None
    async for entry in read_log(store, instance_id):
        position = Position.parse(entry.cursor)
        if isinstance(entry.event, WorkflowStarted):
            last = None
        elif isinstance(entry.event, ProgressReported):
            last = entry.event
    if last is not None and awaited.wait(value := _value(last, instance_id)):
        return value
    scope = asyncio.timeout(awaited.timeout)
    try:
        async with scope:
            async for event in _later_reports(store, instance_id, position):
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


async def _later_reports(store: Store, instance_id: str, after: Position | None) -> AsyncIterator[ProgressReported]:
    """The reports behind this position, as they come, until the instance has ended."""
    while True:
        try:
            async for entry in follow_log(store, instance_id, after):
                after = Position.parse(entry.cursor)
                if isinstance(entry.event, ProgressReported):
                    yield entry.event
        except InstanceNotFoundError:
            raise
        except UsageError:
            after = None  # a new run has pruned what followed: all that is left is later
        else:
            return
