"""Marks among the ids of changed instances, for news that concern no instance (`Store.wait_for_work`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["WORKER_NEWS", "arrivals_in"]

WORKER_NEWS: Final = "\x00worker "
"""With a worker's token behind it: this worker has come. No instance has such an id."""


def arrivals_in(changed: Iterable[str]) -> set[str]:
    """The marks of workers among these ids."""
    marks = set[str]()
    for one in changed:
        if one[:1] == "\x00" and one.startswith(WORKER_NEWS):
            marks.add(one)
    return marks
