"""Faults of streams: lines that are sent again or come late, and what failed and lost attempts have written."""

from __future__ import annotations

from typing import Final

from tools.planting.planted import Planted

__all__ = ["PLANTED"]

_JOURNAL: Final = "romancy/storage/sqlkit/journal.py"
_READER: Final = "romancy/managing/streams.py"
_SHAPES: Final = "streams"

PLANTED: Final = (
    Planted(
        name="streams: a line that is sent again is written again",
        file=_JOURNAL,
        text="        if place in ends and is_there(line.mark, ends[place].mark):\n",
        replacement="        if place in ends and is_there(line.mark, None):\n",
        shapes=_SHAPES,
        mend=True,
    ),
    Planted(
        name="streams: a former owner writes behind its successor",
        file=_JOURNAL,
        text="        if place not in ends or ends[place].owner != line.owner:\n",
        replacement="        if place not in ends:\n",
        shapes=_SHAPES,
    ),
    Planted(
        name="streams: a cancellation does not wait for what was written",
        file="romancy/engine/activities/attempt.py",
        text="            await self.port.streams.finish()\n",
        replacement="            self.port.streams.over = True\n",
        shapes=_SHAPES,
    ),
    Planted(
        name="streams: what a lost attempt wrote counts with the next one",
        file=_READER,
        text="        if row.begins:\n",
        replacement="        if row.begins and self._first < 0:\n",
        shapes=_SHAPES,
    ),
    Planted(
        name="streams: a reader settles before it has read what is settled",
        file=_READER,
        text="            if row.seen > self._read:\n",
        replacement="            if row.seen > self._read + 1_000_000:\n",
        shapes=_SHAPES,
    ),
    Planted(
        name="streams: a pass that empties them begins at the end of the last one",
        file="romancy/retaining/streamed.py",
        text="            self._done[workflow] = until - _LATE\n",
        replacement="            self._done[workflow] = until\n",
        shapes=_SHAPES,
        mend=True,
    ),
    Planted(
        name="streams: a workflow that could not be searched ends the pass",
        file="romancy/retaining/passes.py",
        text="            first = first or error\n",
        replacement="            raise\n",
        shapes=_SHAPES,
        mend=True,
    ),
)
