"""What the instance that remembers the alerts is told, and what it reports. Old logs are read with these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from romancy.event import EventType

__all__ = ["ALERTS", "OBSERVED", "Condition", "Notice", "Observed", "Told"]

ALERTS: Final = "romancy.alerts"
"""The workflow, and the id of its only instance."""


@dataclass(frozen=True)
class Condition:
    """Something that needs a person."""

    key: str
    """What is the same condition as long as it holds, such as `stuck:order`."""
    text: str
    about: str = ""
    """Which instances a link shows: `workers`, or `stuck`, `failed` or `open` and the name of a workflow."""


@dataclass(frozen=True)
class Observed:
    """What holds, as one look has found it."""

    at: int
    """The time of the database."""
    conditions: list[Condition]


@dataclass(frozen=True)
class Notice:
    """One alert, or its end."""

    state: Literal["begins", "is over"]
    condition: Condition
    at: int


@dataclass(frozen=True)
class Told:
    """What was told and holds."""

    at: int = 0
    """The time of the last observation that was acted on."""
    conditions: list[Condition] = field(default_factory=list[Condition])


OBSERVED: Final = EventType("romancy.alerts.observed", Observed)
