"""A workflow together with everything the outside does to it, so that any engine can play it and compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from romancy.retry import RetryPolicy
from romancy.status import Status
from romancy.workflow import Workflow

__all__ = ["Scenario"]


@dataclass(frozen=True)
class Scenario:
    """What is played, in seconds after the start, and how it has to end.

    `durations` are those of activities by name. `events` come at their time, or when they are first waited for if
    that is later. `children` are the workflows started by the one under test.
    """

    workflow: Workflow[..., Any]
    args: tuple[Any, ...] = ()
    result: Any = None
    status: Status = Status.COMPLETED
    error: str = ""
    durations: dict[str, float] = field(default_factory=dict[str, float])
    events: tuple[tuple[float, str, Any], ...] = ()
    cancel_at: float | None = None
    retry: RetryPolicy | None = None
    children: tuple[Workflow[..., Any], ...] = ()
    instance_id: str = "main"

    @property
    def name(self) -> str:
        return self.workflow.name
