"""Groups of failures, as `app.failures` returns them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

__all__ = ["FailureGroup", "FailureGroups"]


class FailureGroup(Struct, frozen=True, kw_only=True):
    """Instances of one workflow that have failed alike, and that nobody has retried or removed since."""

    group: str
    """Its name, `f-3f9a1c22b0d4`: `error=` of a filter takes it. It follows from the next four fields."""
    workflow_name: str
    activity: str
    """The name of the activity or child whose error nobody has caught. Empty: the error is the workflow's own."""
    error_type: str
    """The class of what was raised, behind the errors of Romancy's about retries and children."""
    text: str
    """Its message. What differs from instance to instance is `…`. Empty beside codecs that hide values."""
    number: int
    """How many there are among the failures that were looked at."""
    since: datetime
    """When the first of these failed."""
    last_seen: datetime
    last_instance: str
    """The id of the instance that failed last."""
    first_release: str
    """The release of the worker that recorded the first of these failures. Without a name, the version of the code."""
    last_release: str
    silenced: bool = False
    reason: str = ""
    """Why it is silenced, as whoever has silenced it says."""


class FailureGroups(Struct, frozen=True, kw_only=True):
    """The groups of the newest failures, the one that was seen last first."""

    groups: list[FailureGroup]
    looked_at: int
    """How many failed instances were looked at, the newest: at most 10,000."""
    more: bool
    """Whether there are older failures, or further groups. The numbers of a group count what was looked at."""
