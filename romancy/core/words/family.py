"""Which run of its parent a run of a child works for. Messages between the two name that run, and are void for others.

A parent and a child have several runs if they are retried, and each can be retried without the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core.words import events as ev

if TYPE_CHECKING:
    from romancy.core.words.events import WorkflowStarted

__all__ = ["run_of_child", "wanted_by"]


def wanted_by(started: WorkflowStarted) -> str:
    """The run of the parent on whose behalf this run of a child works. Empty: unknown, or it is no child."""
    return started.by or ("" if started.parent is None else started.parent.run)


def run_of_child(started: WorkflowStarted, instance_id: str) -> str:
    """What `wanted_by` is in the run of this child that this run of its parent waits for."""
    running = started.running if isinstance(started, ev.WorkflowRetried) else {}
    return running.get(instance_id, started.nonce)
