"""What the log of a job holds: what was confirmed, and how far it is. Old logs are read with these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

from romancy.dashboard._search import Search

__all__ = ["Job", "Phase", "Progress", "search_of"]

Phase = Literal["counting", "asking", "acting", "done", "unanswered", "too many"]


@dataclass(frozen=True)
class Job:
    """What somebody has confirmed."""

    verb: str
    search: str
    """The query of the list's URL."""
    fields: dict[str, list[str]]
    """Of the action's form."""
    who: str
    asked: int
    """When the number was looked at, by the database's clock. Instances that were started later do not count."""
    expected: int | None
    """The number that was confirmed. None: there were too many to be counted by a page."""


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    phase: Phase
    total: int = 0
    done: int = 0
    skipped: int = 0
    """They had changed since they were counted, and were left alone."""
    failed: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Some of those that were skipped or failed, with the reasons."""

    @property
    def seen(self) -> int:
        """How many were dealt with."""
        return self.done + self.skipped + self.failed


def search_of(job: Job) -> Search:
    """The search whose instances it is for."""
    return Search.of(parse_qsl(job.search))
