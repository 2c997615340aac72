"""The ranges of time that the overview shows."""

from __future__ import annotations

from typing import Final

__all__ = ["RANGES", "USUAL"]

RANGES: Final = {
    "1h": ("last hour", 300, 12),
    "24h": ("last 24 hours", 3600, 24),
    "7d": ("last 7 days", 21_600, 28),
    "30d": ("last 30 days", 86_400, 30),
}
"""The ranges by their names in the URL: the label, the seconds of a column, and the number of columns."""
USUAL: Final = "24h"
