"""The log lines of instances in an SQL database.

The primary key is the fence between two that write lines of one instance: the number behind the last one is free for
one of them, and the other begins anew.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final

from romancy.storage.journal import LINES_AT_ONCE, KeptLine
from romancy.storage.limits import can_be_id
from romancy.storage.sqlkit.statements import Ask, ask, ask_all, ask_last

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.journal import NewLine
    from romancy.storage.sqlkit.statements import Interpreter, Operation

__all__ = ["SqlJournal"]

_MOST: Final = 2**62
"""Above every life and number. A place beyond it is behind all lines."""


class SqlJournal:
    """As `Journal` promises."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter

    async def put(self, lines: Sequence[NewLine], /, *, keep: int, again: bool = False) -> list[NewLine]:
        if not lines:
            return []
        return await self._interpreter.together(partial(_put, lines, keep, again=again), weight=len(lines))

    async def lines(self, instance_id: str, /, *, after: tuple[int, int] = (0, 0), limit: int = 200) -> list[KeptLine]:
        life, number = (min(max(one, 0), _MOST) for one in after)
        return await self._read("journal_behind", instance_id, limit, life=life, after=number)

    async def newest(self, instance_id: str, /, *, limit: int = 200) -> list[KeptLine]:
        return (await self._read("journal_newest", instance_id, limit))[::-1]

    async def _read(self, script: str, instance_id: str, limit: int, **values: int) -> list[KeptLine]:
        if not can_be_id(instance_id):
            return []
        values["limit"] = min(limit, LINES_AT_ONCE)
        answer = await self._interpreter.read(partial(ask, script, instance_id=instance_id, **values))
        return [KeptLine(*row) for row in answer.rows]


def _put(lines: Sequence[NewLine], keep: int, *, again: bool) -> Operation[list[NewLine]]:
    ids = sorted({line.instance_id for line in lines})
    _, found = yield from ask_all(Ask("journal_hold", {"ids": ids}), Ask("journal_ends", {"ids": ids}))
    ends = {(name, life): (first, last) for name, life, first, last in found.rows}
    known = (yield from _known(lines, ids)) if again else frozenset[str]()
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
        first, last = ends[name, life]
        end = last + len(new)
        if 0 < first <= min(last, end - keep):
            cuts.append((name, life, min(last, end - keep)))
        kept = new[-keep:]
        rows += [(name, life, number, *line[2:]) for number, line in enumerate(kept, end - len(kept) + 1)]
    if cuts:
        yield from ask_all(Ask("journal_cut", {"cuts": cuts}))
    if rows:
        yield from ask_last(Ask("journal_add", {"lines": rows}, len(rows)))
    return absent


def _known(lines: Sequence[NewLine], ids: list[str]) -> Operation[frozenset[str]]:
    marks = sorted(line.mark for line in lines)
    return frozenset(row[0] for row in (yield from ask("journal_known", ids=ids, marks=marks)).rows)
