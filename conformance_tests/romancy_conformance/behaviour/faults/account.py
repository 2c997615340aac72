"""What a ledger proves about lines of steps, on every database and however often their workers were interrupted.

The next activity of a line begins only when the log says that the one before is completed, and the entries of the
ledger are in the order they were written. So an activity that begins again after its successor ran twice although it
was completed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from romancy_conformance.behaviour.crashes.ledger import Entry

__all__ = ["begun_in_vain", "in_flight", "left_behind", "out_of_line"]


def out_of_line(entries: Iterable[Entry], line: Sequence[str]) -> list[str]:
    """Return activities that began again after their successor, or before their predecessor had ended once."""
    places = {activity_id: place for place, activity_id in enumerate(line)}
    reached: dict[str, int] = {}
    ended: set[tuple[str, int]] = set()
    complaints: list[str] = []
    for entry in entries:
        what = f"{entry.activity_id} of {entry.instance_id} (attempt {entry.attempt}, process {entry.pid})"
        place = places.get(entry.activity_id)
        if place is None:
            complaints.append(f"{what} is no part of the line")
        elif entry.what == "end":
            ended.add((entry.instance_id, place))
        else:
            furthest = reached.get(entry.instance_id, 0)
            if place < furthest:
                complaints.append(f"{what} began again although {line[furthest]} had begun")
            if place and (entry.instance_id, place - 1) not in ended:
                complaints.append(f"{what} began before {line[place - 1]} had ended")
            reached[entry.instance_id] = max(place, furthest)
    return complaints


def begun_in_vain(entries: Iterable[Entry]) -> list[Entry]:
    """Return every beginning that was followed by another one of the same activity."""
    last: dict[tuple[str, str], Entry] = {}
    found: list[Entry] = []
    for entry in entries:
        if entry.what == "begin":
            before = last.get((entry.instance_id, entry.activity_id))
            found += [before] if before is not None else []
            last[entry.instance_id, entry.activity_id] = entry
    return found


def left_behind(entries: Iterable[Entry], pids: Collection[int]) -> set[tuple[int, str]]:
    """Return the instances in which these processes left an attempt that another one had to repeat."""
    return {(entry.pid, entry.instance_id) for entry in begun_in_vain(entries) if entry.pid in pids}


def in_flight(entries: Iterable[Entry]) -> Counter[int]:
    """Return how many attempts each process has begun and not ended."""
    counts: Counter[int] = Counter()
    for entry in entries:
        counts[entry.pid] += 1 if entry.what == "begin" else -1
    return counts
