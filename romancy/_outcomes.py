"""How an instance ended, read from its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import TERMINAL, State
from romancy.engine import history
from romancy.errors import InstanceNotFoundError
from romancy.status import TERMINAL_STATUSES

if TYPE_CHECKING:
    from romancy.core import Outcome
    from romancy.storage.protocol import Store

__all__ = ["read_outcome"]


async def read_outcome(store: Store, instance_id: str) -> Outcome | None:
    """The end wherever it stands in the log, or None while there is none. Raises InstanceNotFoundError."""
    found = await store.read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    row = found.instance
    if row.status not in TERMINAL_STATUSES:
        return None
    state = State()
    for seq in dict.fromkeys([row.last_seq, row.run_from]):  # nearly always the last commit is the end
        async for _, commit in history(store, instance_id, after=seq - 1):
            for event in commit:
                if isinstance(event, TERMINAL):
                    state.terminal = event
        if state.terminal is not None:
            break
    return state.outcome()
