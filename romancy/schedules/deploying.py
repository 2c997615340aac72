"""The schedules that the code of workflows declares: a worker that opens adds, changes and removes them.

A schedule that a program declares with `app.schedule` is left alone. So is one of a workflow that this worker does not
know: another program declares it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.errors import (
    InstanceConflictError,
    InstanceNotFoundError,
    RomancyError,
    SerializationError,
    StorageUnavailableError,
    UsageError,
)
from romancy.schedules.declared import definition_of
from romancy.schedules.handle import ScheduleHandle, states_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from romancy._followed import Followed
    from romancy.schedules.records import Definition
    from romancy.workflow import Workflow

__all__ = ["deploy"]

logger = get_logger("romancy")
_PAUSE: Final = 1.0
"""Seconds between two attempts to reach the database."""


async def deploy(
    app: Followed, workflows: Mapping[str, Workflow[..., Any]], declare: Callable[[Definition], Awaitable[object]]
) -> None:
    """Let the database have the schedules that these workflows declare, and no others that they once declared."""
    while True:
        try:
            return await _deploy(app, workflows, declare)
        except StorageUnavailableError:
            await asyncio.sleep(_PAUSE)
        except RomancyError as error:
            return logger.warning("the schedules that the code declares could not be written: %s", error)


async def _deploy(
    app: Followed, workflows: Mapping[str, Workflow[..., Any]], declare: Callable[[Definition], Awaitable[object]]
) -> None:
    for name, workflow in workflows.items():
        if workflow.schedule is not None:
            try:
                await declare(definition_of(name, workflow.bind(), workflow.schedule, declared=True))
            except (InstanceConflictError, SerializationError, UsageError) as error:
                logger.warning("workflow %s: the schedule that it declares could not be written: %s", name, error)
    others = [name for name, workflow in workflows.items() if workflow.schedule is None]
    for one in await states_of(app, others):
        schedule_id = one.definition.id
        if one.definition.declared:
            logger.info("workflow %s declares no schedule any more: its schedule is deleted", schedule_id)
            with suppress(InstanceNotFoundError):  # another worker was faster
                await ScheduleHandle(app, app, schedule_id).order_delete()
