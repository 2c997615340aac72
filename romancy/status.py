"""Where an instance stands, in one word. The core decides it, the store keeps it, everybody reads it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

__all__ = ["TERMINAL_STATUSES", "Status", "StatusName"]


class Status(StrEnum):
    """Where an instance stands. Comparing with the plain string works as well."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    COMPENSATING = "compensating"
    STUCK = "stuck"


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
]
TERMINAL_STATUSES = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
