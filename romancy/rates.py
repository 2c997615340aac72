"""What begins, ends and fails in a minute, by workflow, as `app.rates` returns it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from romancy.status import Status

__all__ = ["RateSpan", "Rates", "WorkflowRates"]


class RateSpan(Struct, frozen=True, kw_only=True):
    """A twelfth of the time, for one workflow."""

    at: datetime
    """When it begins."""
    begun: int
    ended: int
    """Failed ones included."""
    failed: int
    open: int | None
    """How many were open at its end. None: it is not known, because not all that came later was counted."""
    whole: bool
    """Whether all that began and ended in it was counted."""


class WorkflowRates(Struct, frozen=True, kw_only=True):
    """One workflow: what is open now, and what has begun and ended."""

    workflow_name: str
    open: int
    statuses: dict[Status, int]
    """The open ones by status."""
    due: int
    """How many of them wait for a worker."""
    oldest: datetime | None
    """When the oldest of those that were counted was started. None: none is open."""
    more: bool
    """Whether more may be open and due, and the oldest be older: too many are open to count them all."""
    begun: float
    """How many began in a minute."""
    ended: float
    """How many ended in a minute, failed ones included."""
    failed: float
    """How many failed in a minute."""
    over_time: list[RateSpan]
    """Twelve spans, the oldest first."""

    @property
    def change(self) -> int | None:
        """How many more are open than at the beginning of the time. None: not all was counted."""
        if not self.over_time[0].whole:
            return None
        return sum(each.begun - each.ended for each in self.over_time)


class Rates(Struct, frozen=True, kw_only=True):
    """The workflows, first those of which something is open, that with the oldest instance at the top."""

    workflows: list[WorkflowRates]
    since: datetime
    until: datetime
    """The time of the database."""
    begun_since: datetime
    """The rates of begins are of the time from here on. It is later than `since` if too many began to count them all.
    """
    ended_since: datetime
    """The same of ends."""
    uncounted: list[Status]
    """Statuses of which not all open instances were counted: the oldest were."""

    @property
    def partial(self) -> bool:
        """Whether not all that began and ended since `since` was counted."""
        return max(self.begun_since, self.ended_since) > self.since
