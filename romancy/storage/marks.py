"""Marks among the ids of changed instances (`Store.wait_for_work`): news that no worker need claim for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ENDED_NEWS", "STREAM_NEWS", "TAKEN_NEWS", "WORKER_NEWS", "instance_of", "marks_in"]

WORKER_NEWS: Final = "\x00worker "
"""With a worker's token behind it: this worker has come. No instance has such an id."""
ENDED_NEWS: Final = "\x00ended "
"""With an instance's id behind it: it has ended or is stuck, so nobody claims it. A store may tell the id alone."""
TAKEN_NEWS: Final = "\x00taken "
"""With an instance's id behind it: a worker has got it, or its mail, by a claim that asked for this (`announce`)."""

STREAM_NEWS: Final = "\x00stream "
"""With an instance's id behind it: something was written to its streams, the first for a moment."""


def marks_in(changed: Iterable[str]) -> set[str]:
    """The marks among these ids."""
    return {one for one in changed if one[:1] == "\x00"}


def instance_of(one: str) -> str:
    """The id of an instance that ended, from its mark. An id stays as it is."""
    return one.removeprefix(ENDED_NEWS)
