"""A workflow together with all its input from outside, so that any engine can run it and compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from romancy.retry import RetryPolicy
from romancy.status import Status
from romancy.workflow import Workflow

__all__ = ["Scenario"]


@dataclass(frozen=True)
class Scenario:
    """What is played, in seconds after the start, and how it must end.

    `durations` are those of activities, by name. `events` arrive at their time, or when the workflow first waits for
    them if that is later. `children` are the workflows started by the one under test.
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
