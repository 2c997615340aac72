"""Finds where the body of an instance waits: from the run that a worker of this process holds, or by a replay."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from romancy.core import Run, conditions_of_body, current_run, place_of_body
from romancy.engine import RUNTIME, history, stored_size
from romancy.errors import (
    CodecError,
    HistoryCorruptError,
    HistoryVersionError,
    InstanceNotFoundError,
    NonDeterminismError,
)
from romancy.insight import Whereabouts

if TYPE_CHECKING:
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["replayed_to", "whereabouts_of"]

_LONGEST: Final = 1000
"""The most commits in a log that is replayed for this."""


def whereabouts_of(run: Run) -> Whereabouts:
    """Where the body of this run waits."""
    return Whereabouts(place_of_body(run), conditions_of_body(run))


async def replayed_to(store: Store, registry: Registry, row: InstanceRow) -> Whereabouts:
    """Where the body of a resting instance waits. Nothing is known of one whose code is elsewhere or does not fit."""
    definition = registry.workflows.get(row.workflow_name)
    if definition is None or row.last_seq - row.run_from > _LONGEST:
        return Whereabouts()
    known, stored = registry.activities_of(definition.name), partial(stored_size, store)
    run = Run(
        definition, instance_id=row.instance_id, code=definition.code, runtime=RUNTIME, known=known, stored=stored
    )
    try:
        log = history(store, row.instance_id, after=row.run_from - 1, life=row.life)
        run.replay(current_run([commit async for _, commit in log]))
        return whereabouts_of(run)
    except (InstanceNotFoundError, NonDeterminismError, HistoryCorruptError, HistoryVersionError, CodecError):
        return Whereabouts()
    finally:
        run.close()
