"""The status of an instance, in one word. The core decides it and the store keeps it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

__all__ = ["TERMINAL_STATUSES", "Status", "StatusName"]


class Status(StrEnum):
    """The status of an instance. It compares equal to the plain string."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    COMPENSATING = "compensating"
    STUCK = "stuck"
    PAUSED = "paused"


StatusName: TypeAlias = Literal[
    "pending",
    "running",
    "waiting",
    "completed",
    "failed",
    "cancelling",
    "cancelled",
    "compensating",
    "stuck",
    "paused",
]
TERMINAL_STATUSES = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
