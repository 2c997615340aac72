"""A step as bars on an axis of time: one bar for each attempt, and bars for the waits before and between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.insight._timeline import Step

__all__ = ["BUSY", "LAST", "Bar", "bars"]

BarKind: TypeAlias = Literal["queue", "run", "done", "failed", "stopped", "lost", "pause", "wait"]

BUSY: Final = frozenset({"queue", "run", "done", "failed", "stopped", "lost"})
"""The kinds of bars that are work, or that would be work if a slot were free. The others are waits."""

LAST: Final[dict[str, BarKind]] = {"completed": "done", "failed": "failed", "cancelled": "stopped"}


class Bar(Struct, frozen=True, gc=False):
    """A stretch of time in the life of a step, in microseconds since the epoch."""

    kind: BarKind
    """`queue`: it waited for a slot. `run`: an attempt that has not ended. `lost`: an attempt that ended with its
    worker. `pause`: the time between two attempts. `wait`: all the time of what is no work of this instance's own.
    """
    begins: int
    ends: int
    attempt: int = 0
    """The number of the attempt. 0: this is none."""
    open: bool = False
    """Whether the bar has no end yet."""


def bars(step: Step, until: int) -> list[Bar]:
    """The bars of a step, in order. What has not ended is drawn up to `until`."""
    ended = step.ended_at if step.ended_at is not None else step.left_at
    end = max(until, step.began_at) if ended is None else ended
    if step.kind not in {"activity", "compensation"}:
        return [Bar("wait", step.began_at, end, open=step.is_open)]
    return [*_failed(step), *_last(step, end)]


def _failed(step: Step) -> Iterator[Bar]:
    for failure in step.failures:
        yield from _attempt(step, failure.number, failure.due, failure.at, failure.queued, "failed")
        if failure is not step.failures[-1]:
            yield Bar("pause", failure.at, failure.next_at)


def _last(step: Step, end: int) -> Iterator[Bar]:
    number, due = step.last_attempt, step.began_at
    if step.failures:
        failure = step.failures[-1]
        due = failure.next_at
        waits = end < due or (step.is_open and end == due)
        yield Bar("pause", failure.at, min(due, end), open=step.is_open and waits)
        if waits:
            return
    if step.outcome == "never started":
        return
    kind: BarKind = "run" if step.is_open else LAST.get(step.outcome, "stopped")
    yield from _attempt(step, number, due, end, step.queued, kind)


def _attempt(step: Step, number: int, due: int, end: int, queued: int, kind: BarKind) -> Iterator[Bar]:
    begin, lost = due, [taken for taken in step.taken_up if due < taken < end]
    for before, taken in enumerate(lost, max(1, number - len(lost))):
        yield Bar("lost", begin, taken, min(before, number))
        begin = taken
    ran = min(begin + queued, end)
    if ran > begin:
        yield Bar("queue", begin, ran, number)
    yield Bar(kind, ran, end, number, open=step.is_open and kind == "run")
