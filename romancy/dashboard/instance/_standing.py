"""The head of an instance's page: why it does not move, how it ended, where its code left the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from romancy.core import WorkflowCompleted
from romancy.dashboard.instance._payload import WIDE
from romancy.dashboard.instance._rows import Given, given_in
from romancy.dashboard.instance._window import near_the_end, read_window
from romancy.insight import Divergence, Timeline, divergence_of, explain
from romancy.managing.lines import Place, lines_of, places_of
from romancy.managing.others import others_of
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.dashboard.instance._window import Window
    from romancy.instance import Untaken
    from romancy.serialization import ErrorInfo
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["Standing", "standing_of"]

_BACK: Final = 300
"""The number of commits before the end that are read of a log that is longer than a page."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The content of the page's head."""

    reasons: list[str]
    result: tuple[Given, ...]
    error: str
    """With the lines of the source."""
    divergence: Divergence | None
    cut: int
    """The number of commits of the run that were not read. Waits that began in them are not among the reasons."""
    last: int
    """The last commit of the log."""
    now: int
    places: tuple[Place, ...]
    """The places under limits that it has, or waits for."""


async def standing_of(store: Store, row: InstanceRow, window: Window | None, untaken: Sequence[Untaken]) -> Standing:
    """Read the end of the log, unless the window that was read already holds it."""
    tail = window if window is not None and not window.more and window.after < row.run_from else None
    if tail is None:
        end = await near_the_end(store, row)
        tail = await read_window(store, row.instance_id, max(row.run_from - 1, end - _BACK), reads=2)
    timeline = Timeline(detailed=True)
    result: tuple[Given, ...] = ()
    error: ErrorInfo | None = None
    for place, event, at in tail.events() if tail is not None else ():
        timeline.take(event, place, at)
        if isinstance(event, WorkflowCompleted):
            result = given_in(event, place, WIDE)
        error = getattr(event, "error", None) if type(event).__name__ == "WorkflowFailed" else error
    census = await store.services.reading.census()
    stuck = row.status is Status.STUCK
    begins = row.run_from if tail is None else tail.begins
    places = await places_of(store, row)
    return Standing(
        reasons=explain(
            row,
            timeline,
            census,
            untaken,
            lines=await lines_of(store, places),
            others=await others_of(store, row, timeline),
        ),
        result=result if row.status in TERMINAL_STATUSES else (),
        error=error.report if error is not None and row.status is Status.FAILED else "",
        divergence=divergence_of(timeline.parked or row.error or "", timeline.departure) if stuck else None,
        cut=max(begins - row.run_from, 0) if row.status not in TERMINAL_STATUSES else 0,
        last=row.last_seq if tail is None else tail.last,
        now=census.now,
        places=tuple(places),
    )
