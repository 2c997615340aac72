"""From which steps of a timeline the page leads back to before them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.core import WorkflowRetried
from romancy.dashboard.instance import _places
from romancy.insight import Note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.dashboard._visit import Visit
    from romancy.insight import Step, Timeline
    from romancy.storage.records import InstanceRow

__all__ = ["links_back"]

_OURS: Final = "romancy."
"""How the names of the library's workflows begin, with which nobody goes back."""


def links_back(visit: Visit, row: InstanceRow, folded: Timeline, shown: Iterable[Step | Note]) -> dict[str, str]:
    """The URLs by the places of the steps: those of the last run, for who may go back there."""
    may = visit.may("fork") or visit.may("rewind")
    if not may or not visit.has_app or row.workflow_name.startswith(_OURS):
        return {}
    retries = [one.place for one in folded.entries if isinstance(one, Note) and isinstance(one.event, WorkflowRetried)]
    begins = max(retries, default=(row.run_from, 0))
    return {
        _places.text(one.place): visit.go_back_url(row.instance_id, one.id)
        for one in shown
        if not isinstance(one, Note) and one.kind != "compensation" and one.place >= begins
    }
