"""What is kept beside the logs of instances in an SQL database: lines of logging, and what streams hold.

The primary key is the fence between two that write lines of one instance: the number behind the last one is free for
one of them, and the other begins anew. It finds out in the same statement whether it still owns the instance, and from
the mark of the last line of a stream which of its own are there. So a line that is sent twice is written once, also if
the first call comes last.

Numbers of log lines count lines. Those of streams count bytes, so the first and the last one tell the size.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.status import TERMINAL_STATUSES
from romancy.storage.journal import LINES_AT_ONCE, Behind, KeptLine, Written, is_there
from romancy.storage.limits import can_be_id
from romancy.storage.marks import STREAM_NEWS
from romancy.storage.sqlkit.statements import Ask, ask, ask_all, ask_last

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from romancy.storage.journal import NewLine
    from romancy.storage.sqlkit.statements import Interpreter, Operation

__all__ = ["STREAMS", "SqlJournal"]

STREAMS: Final = 2**60
"""From here on, numbers are of streams: 1 is the first behind it."""
_LOGGED: Final = {"low": 1, "high": STREAMS}
_STREAMED: Final = {"low": STREAMS + 1, "high": 2**61}

_QUIET: Final = 0.2
"""Seconds in which the followers of an instance still look often."""
_MOST_TOLD: Final = 1000


class SqlJournal:
    """As `Journal` promises."""

    def __init__(self, interpreter: Interpreter, announce: Callable[[Iterable[str]], None] | None = None) -> None:
        """`announce`: tells the stores of other processes that listen. None: they poll."""
        self._interpreter = interpreter
        self._announce = announce
        self._told: dict[str, float] = {}
        """When others were told last of the streams of these instances."""

    async def put(self, lines: Sequence[NewLine], /, *, keep: int, again: bool = False) -> list[NewLine]:
        if not lines:
            return []
        return await self._interpreter.together(partial(_put, lines, keep, again=again), weight=len(lines))

    async def lines(self, instance_id: str, /, *, after: tuple[int, int] = (0, 0), limit: int = 200) -> list[KeptLine]:
        life, number = (min(max(one, 0), STREAMS) for one in after)
        return await self._read("journal_behind", instance_id, limit, life=life, after=number, high=STREAMS)

    async def newest(self, instance_id: str, /, *, limit: int = 200) -> list[KeptLine]:
        return (await self._read("journal_newest", instance_id, limit, high=STREAMS))[::-1]

    async def write(self, lines: Sequence[NewLine], /) -> Written:
        if not lines:
            return Written([], {}, {})
        written = await self._interpreter.together(partial(_write, lines), weight=len(lines))
        if self._announce is not None:
            self._announce(STREAM_NEWS + instance_id for instance_id in self._quiet(lines))
        return written

    def _quiet(self, lines: Sequence[NewLine]) -> list[str]:
        """The instances of which others were not told for a moment. Their followers look less often."""
        now = asyncio.get_running_loop().time()
        quiet = [each for each in {line.instance_id for line in lines} if now - self._told.get(each, 0.0) > _QUIET]
        if len(self._told) > _MOST_TOLD:
            self._told = {each: at for each, at in self._told.items() if now - at <= _QUIET}
        self._told |= dict.fromkeys(quiet, now)
        return quiet

    async def written(self, instance_id: str, life: int, /, *, after: int = 0, limit: int = 200) -> list[KeptLine]:
        behind = STREAMS + min(max(after, 0), STREAMS)
        found = await self._read("stream_behind", instance_id, limit, life=life, after=behind)
        return [line._replace(number=line.number - STREAMS) for line in found]

    async def written_behind(self, places: Sequence[tuple[str, int, int]], /, *, limit: int = 200) -> dict[str, Behind]:
        behind = [(one, life, STREAMS + min(max(after, 0), STREAMS)) for one, life, after in places if can_be_id(one)]
        if not behind:
            return {}
        most = min(limit, LINES_AT_ONCE)
        rows = (await self._interpreter.read(partial(ask, "streams_behind", places=behind, limit=most))).rows
        found: dict[str, Behind] = {}
        for one, life, last, number, *rest in rows:
            lines = found.setdefault(one, Behind(life, last, [])).lines
            if number is not None:
                lines.append(KeptLine(life, number - STREAMS, *rest))
        if len(rows) >= most:
            del found[rows[-1][0]]
        return found

    async def empty(self, instances: Sequence[tuple[str, int]], /, *, ended_until: int, blank: bytes) -> int:
        known = [one for one in instances if can_be_id(one[0])]
        if not known:
            return 0
        return await self._interpreter.together(partial(_empty, known, ended_until, blank), weight=len(known))

    async def _read(self, script: str, instance_id: str, limit: int, **values: int) -> list[KeptLine]:
        if not can_be_id(instance_id):
            return []
        values["limit"] = min(limit, LINES_AT_ONCE)
        answer = await self._interpreter.read(partial(ask, script, instance_id=instance_id, **values))
        return [KeptLine(*row) for row in answer.rows]


class _End(NamedTuple):
    """Where the lines of an instance begin and end."""

    owner: str | None
    first: int
    last: int
    size: int
    """That of the last line."""
    mark: str | None
    """That of the last line."""
    status: str
    updated_at: int
    """Both of the instance."""


def _ends(among: Iterable[str], kind: Mapping[str, int]) -> Operation[dict[tuple[str, int], _End]]:
    ids = sorted(set(among))
    _, found = yield from ask_all(Ask("journal_hold", {"ids": ids}), Ask("journal_ends", {"ids": ids, **kind}))
    return {(name, life): _End(*end) for name, life, *end in found.rows}


def _known(lines: Sequence[NewLine]) -> Operation[frozenset[str]]:
    """The marks of those lines that are there."""
    ids, marks = sorted({line.instance_id for line in lines}), sorted(line.mark for line in lines)
    return frozenset(row[0] for row in (yield from ask("journal_known", ids=ids, marks=marks)).rows)


def _add(rows: list[tuple[object, ...]]) -> Operation[None]:
    if rows:
        yield from ask_last(Ask("journal_add", {"lines": rows}, len(rows)))


def _put(lines: Sequence[NewLine], keep: int, *, again: bool) -> Operation[list[NewLine]]:
    ends = yield from _ends((line.instance_id for line in lines), _LOGGED)
    known = (yield from _known(lines)) if again else frozenset[str]()
    standing = defaultdict[tuple[str, int], list["NewLine"]](list)
    absent: list[NewLine] = []
    for line in lines:
        owner = line.instance_id, line.life
        if owner not in ends:
            absent.append(line)
        elif line.mark not in known:
            standing[owner].append(line)
    rows, cuts = list[tuple[object, ...]](), list[tuple[str, int, int]]()
    for (name, life), new in sorted(standing.items()):
        _, first, last, *_ = ends[name, life]
        end = last + len(new)
        if 0 < first <= min(last, end - keep):
            cuts.append((name, life, min(last, end - keep)))
        kept = new[-keep:]
        rows += [_row(line, number) for number, line in enumerate(kept, end - len(kept) + 1)]
    if cuts:
        yield from ask_all(Ask("journal_cut", {"cuts": cuts, "low": 0}))
    yield from _add(rows)
    return absent


def _write(lines: Sequence[NewLine]) -> Operation[Written]:
    ends = yield from _ends((line.instance_id for line in lines), _STREAMED)
    free = {place: end.last + end.size if end.last else STREAMS + 1 for place, end in ends.items()}
    begins = {place: end.first or STREAMS + 1 for place, end in ends.items()}
    before = {place: max(0, end.last - STREAMS) for place, end in ends.items()}
    places: dict[str, tuple[int, int]] = {}
    refused, rows = list["NewLine"](), list[tuple[object, ...]]()
    for line in lines:
        place = line.instance_id, line.life
        if place in ends and is_there(line.mark, ends[place].mark):
            continue
        if place not in ends or ends[place].owner != line.owner:
            refused.append(line)
            continue
        rows.append(_row(line, free[place]))
        places[line.mark] = before[place], free[place] - STREAMS
        before[place] = free[place] - STREAMS
        free[place] += len(line.body)
    yield from _add(rows)
    return Written(refused, {place[0]: number - begins[place] for place, number in free.items()}, places)


def _empty(instances: Sequence[tuple[str, int]], until: int, blank: bytes) -> Operation[int]:
    chosen, ends = set(instances), (yield from _ends((one[0] for one in instances), _STREAMED))
    going = sorted((*place, end) for place, end in ends.items() if place in chosen and _goes(end, until, blank))
    if going:
        cuts = [(name, life, end.last) for name, life, end in going]
        lines: list[tuple[object, ...]] = [(name, life, end.last, end.mark, 0, blank) for name, life, end in going]
        yield from ask_all(Ask("journal_cut", {"cuts": cuts, "low": STREAMS}))
        yield from _add(lines)
    return len(going)


def _goes(end: _End, until: int, blank: bytes) -> bool:
    """Whether there is more than a blank line of an instance that had ended by then."""
    over = end.status in TERMINAL_STATUSES and end.updated_at <= until
    return over and end.last > 0 and (end.first < end.last or end.size > len(blank))


def _row(line: NewLine, number: int) -> tuple[object, ...]:
    return line.instance_id, line.life, number, line.mark, line.at, line.body
