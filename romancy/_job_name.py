"""The name of the dashboard's workflow that acts on many. Its instances are never among the many.

The dashboard runs them, with its own code. No app of a user has this workflow, and none is asked whether it fits.
"""

from __future__ import annotations

from typing import Final

__all__ = ["NAME"]

NAME: Final = "romancy.dashboard.bulk"
