"""The records in the log of a job: what was confirmed, and the progress. Old logs are read with these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

from romancy.dashboard._search import Search

__all__ = ["Job", "Phase", "Progress", "search_of"]

Phase = Literal["counting", "asking", "acting", "done", "unanswered", "too many"]


@dataclass(frozen=True)
class Job:
    """A confirmed action."""

    verb: str
    search: str
    """The query of the list's URL."""
    fields: dict[str, list[str]]
    """The fields of the action's form."""
    who: str
    asked: int
    """The database's time of the count. Instances that were started later are not included."""
    expected: int | None
    """The confirmed number. None: there were too many for a page to count."""


@dataclass(frozen=True)
class Progress:
    """The progress of a job."""

    phase: Phase
    total: int = 0
    done: int = 0
    skipped: int = 0
    """Instances that had changed since they were counted, and were skipped."""
    failed: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Some of those that were skipped or failed, with the reasons."""

    @property
    def seen(self) -> int:
        """The number of processed instances."""
        return self.done + self.skipped + self.failed


def search_of(job: Job) -> Search:
    """The search whose instances it is for."""
    return Search.of(parse_qsl(job.search))
