"""Reads from the log how an instance ended."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from romancy.core import TERMINAL, State
from romancy.engine import history
from romancy.errors import InstanceNotFoundError
from romancy.log import commits_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.core import LogEvent, Outcome
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["read_outcome"]


async def read_outcome(store: Store, row: InstanceRow) -> Outcome | None:
    """The outcome of the instance, if its log tells how it ended. Raises InstanceNotFoundError."""
    instance_id = row.instance_id
    end = await store.read(instance_id, after=row.last_seq - 1, limit=1)
    if end is None or end.instance.life != row.life:
        raise InstanceNotFoundError(f"instance {instance_id!r} was just removed")
    state = _ended([commit for _, commit in commits_of(end, row.last_seq - 1)])
    if state.terminal is None:  # nearly always the last commit holds the end; else read the whole run
        commits = history(store, instance_id, after=row.run_from - 1, life=row.life)
        state = _ended([commit async for _, commit in commits])
    return state.outcome()


def _ended(commits: Iterable[Sequence[LogEvent]]) -> State:
    state = State()
    for event in itertools.chain.from_iterable(commits):
        if isinstance(event, TERMINAL):
            state.terminal = event
    return state
