"""The name of the workflow that acts on many. Its instances are never among the many."""

from __future__ import annotations

from typing import Final

__all__ = ["NAME"]

NAME: Final = "romancy.dashboard.bulk"
