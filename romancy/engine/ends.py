"""The inputs that report how attempts at activities and compensations ended.

An end is nowhere but in memory until it is appended. Every other input comes again: a message lies in the inbox, and a
timer, a subscription or a retried child follows from the log.
"""

from __future__ import annotations

from typing import Final

from romancy.core import (
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    CompensationAttemptFailed,
    CompensationCompleted,
    CompensationFailed,
)

__all__ = ["ENDS"]

ENDS: Final = (
    ActivityCompleted,
    ActivityFailed,
    ActivityCancelled,
    ActivityAttemptFailed,
    CompensationCompleted,
    CompensationFailed,
    CompensationAttemptFailed,
)
