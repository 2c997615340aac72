"""A mark among the ids of changed instances, for news that concern no instance (`Store.wait_for_work`)."""

from __future__ import annotations

from typing import Final

__all__ = ["WORKER_NEWS"]

WORKER_NEWS: Final = "\x00workers"
"""A worker has come. No instance has this id."""
