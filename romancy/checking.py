"""Checks that code fits the open instances of a database. Every open instance is replayed; nothing is written.

A replay runs the workflow's body up to the end of the log, and then its `finally` blocks. Activities do not run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy._job_name import NAME
from romancy.core import replay
from romancy.engine import RUNTIME, history, stored_size
from romancy.errors import (
    CodecError,
    HistoryCorruptError,
    HistoryVersionError,
    InstanceNotFoundError,
    NonDeterminismError,
)
from romancy.registry import Registry
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from romancy.query import InstanceFilter
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow
    from romancy.workflow import Workflow

__all__ = ["Check", "Misfit", "check_open", "misfit_of"]

_OPEN: Final = tuple(status for status in Status if status not in TERMINAL_STATUSES)
_PAGE: Final = 100
"""Rows held in memory at a time. Each holds its input, which may be large."""
_UNREADABLE: Final = (HistoryCorruptError, HistoryVersionError, CodecError)


@dataclass(frozen=True, slots=True)
class Misfit:
    """An open instance that this code cannot continue."""

    instance_id: str
    workflow_name: str
    status: Status
    kind: str
    """`diverges`: the code does not do what the log says. `unknown workflow`: the app has none of this name.
    `unreadable`: this version, or these codecs, cannot read the log.
    """
    report: str
    """The difference, with source lines if the code is at fault."""


@dataclass(slots=True)
class Check:
    """The findings of a check so far."""

    checked: int = 0
    misfits: list[Misfit] = field(default_factory=list[Misfit])

    @property
    def fits(self) -> bool:
        """Whether this code can continue every instance that was checked."""
        return not self.misfits


async def check_open(
    store: Store,
    workflows: Mapping[str, Workflow[..., Any]],
    chosen: InstanceFilter,
    *,
    progress: Callable[[Check], None] | None = None,
) -> Check:
    """Replay the chosen open instances with these workflows. The filter's name of a workflow is a whole one.

    Instances that end or vanish meanwhile are left out. So are jobs of the dashboard, which runs their code.
    UsageError: the filter has the status of ended ones.
    """
    check = Check()
    registry = Registry.collect(workflows.values())
    async for row in _rows(store, chosen.among(_OPEN, "only open instances are checked")):
        if row.workflow_name == NAME:
            continue
        try:
            misfit = await misfit_of(store, registry, row)
        except InstanceNotFoundError:
            continue
        check.checked += 1
        if misfit is not None:
            check.misfits.append(misfit)
        if progress is not None:
            progress(check)
        await asyncio.sleep(0)  # a replay is synchronous: give the event loop its turn
    return check


async def _rows(store: Store, chosen: InstanceFilter) -> AsyncIterator[InstanceRow]:
    token: str | None = None
    while True:
        page = await store.services.reading.find(chosen.query(limit=_PAGE, page_token=token, to_act=True))
        for row in page.rows:
            yield row
        token = page.next_token
        if token is None:
            return


async def misfit_of(store: Store, registry: Registry, row: InstanceRow) -> Misfit | None:
    """The reason why these workflows cannot continue an instance. None if they can.

    Nothing is written. Raises InstanceNotFoundError if the instance is removed in the meantime.
    """
    definition = registry.workflows.get(row.workflow_name)
    if definition is None:
        known = ", ".join(sorted(registry.workflows)) or "none"
        return _of(row, "unknown workflow", f"this app has no workflow {row.workflow_name!r}; it has {known}")
    try:
        commits = [commit async for _, commit in history(store, row.instance_id, after=row.run_from - 1)]
        replay(
            definition,
            commits,
            instance_id=row.instance_id,
            code=definition.code,
            runtime=RUNTIME,
            known=registry.activities_of(row.workflow_name),
            stored=partial(stored_size, store),
        )
    except NonDeterminismError as error:
        return _of(row, "diverges", f"{error}\n  the code at hand:  {_place(definition)}")
    except _UNREADABLE as error:
        return _of(row, "unreadable", str(error))
    return None


def _place(definition: Workflow[..., Any]) -> str:
    code = definition.fn.__code__
    return f"{code.co_qualname} in {code.co_filename}, line {code.co_firstlineno}"


def _of(row: InstanceRow, kind: str, report: str) -> Misfit:
    return Misfit(row.instance_id, row.workflow_name, row.status, kind, report)
