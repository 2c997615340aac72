"""Turns of those that wait for a worker, or for a place under a limit: by their fair keys. Pure.

A start with a fair key waits in the line of its key until a worker first takes it (`Create.fair_line`). What waits
otherwise is one line more, the empty one. A claim takes from each line in turn, in the order of their names, and goes
on behind the line where the worker's last claim has stopped. So a key has its share however much waits with others,
nothing about turns is stored or locked, and a start knows nothing of others.

In the line of a limit it is the same with the demands of instances that have a fair key. There the lane notes where its
turns stand (`sqlkit/lanes.py`).

A key of which each start has a weight of 3 has three lines, among which its starts are spread: it has three turns.
"""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.errors import UsageError
from romancy.storage.limits import check_id
from romancy.storage.ranks import rank

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

__all__ = [
    "LAST",
    "NO_TURN",
    "PLAIN",
    "Chosen",
    "InLine",
    "Look",
    "Step",
    "Turn",
    "check_key",
    "choose",
    "in_turn",
    "line_of",
]

PLAIN: Final = ""
"""The line of what has no fair key."""
_LINES: Final = 8
"""From how many lines a claim takes at most before one gets more than its share of the claim."""
_NEXT: Final = "\x01"
"""A line and this come before all later lines: no key has such characters."""
_LONGEST_KEY: Final = 200
"""In bytes. A line is a little longer, and fits an index."""
_PART: Final = "\x1f"
LAST: Final = "\U0010ffff" * (_LONGEST_KEY // 4 + 1)
"""Behind all lines: the last character there is takes four bytes, so no key has so many."""


class Turn(NamedTuple):
    """Where the turns of a worker stand: the last line from which it took, and how much of its share that line had."""

    line: str
    taken: int


NO_TURN: Final = Turn(PLAIN, 0)


class Look(NamedTuple):
    """What is asked for: of each workflow that the claim knows, the first due ones of a priority and some lines.

    In the order of the lines, and of one line the longest due first. `low` is among the lines, and `below` is not.
    Of the empty line alone if `low` is empty.
    """

    priority: int
    low: str
    below: str
    limit: int


class InLine(NamedTuple):
    """One that waits."""

    workflow_name: str
    line: str
    instance_id: str
    wake_at: int


class Chosen(NamedTuple):
    """What a claim is to take, in this order, each with the time since which it is due.

    `turns`: where the turns of the worker stand then, by priority.
    """

    due: dict[str, int]
    turns: dict[int, tuple[str, int]]


def check_key(given: str, what: str) -> None:
    """Refuse what is no fair key. Raises UsageError."""
    check_id(given, what, at_most=_LONGEST_KEY)
    if any(character < " " for character in given):
        raise UsageError(f"{what}: {given!r} holds a control character; remove it")


def line_of(key: str, weight: int, number: int) -> str:
    """The line in which a start with this key and weight waits. The number spreads the starts of a key."""
    part = number % weight if key else 0
    return f"{key}{_PART}{part}" if part else key


def choose(
    priorities: Iterable[int], limit: int, turns: Mapping[int, tuple[str, int]]
) -> Generator[Look, Sequence[InLine], Chosen]:
    """Choose among those that wait with these priorities. `turns`: where the turns of the worker stand.

    As `in_turn` does.
    """
    found = yield from in_turn(priorities, limit, turns)
    return Chosen(
        {step.one.instance_id: step.one.wake_at for step in found}, {step.priority: step.turn for step in found}
    )


def in_turn(
    priorities: Iterable[int], limit: int, turns: Mapping[int, tuple[str, int]]
) -> Generator[Look, Sequence[InLine], list[Step]]:
    """So many of those that wait, in the order in which they are taken.

    Within a priority, the lines take turns. Beside other priorities, one counts as since when it is due, but not
    earlier than those before it in the turns.
    """
    found: list[tuple[int, Step]] = []
    for priority in priorities:
        steps = yield from _Round(priority, limit, turns.get(priority, NO_TURN)).steps()
        since = accumulate((step.one.wake_at for step in steps), max)
        found += [(rank(at, priority), step) for at, step in zip(since, steps, strict=True)]
    found.sort(key=lambda one: one[0])
    return [step for _, step in found[:limit]]


class Step(NamedTuple):
    """One that is taken. `turn`: where the turns of its priority stand then."""

    one: InLine
    priority: int
    turn: Turn


class _Round:
    """The turns of one priority, as far as one claim goes."""

    def __init__(self, priority: int, limit: int, turn: tuple[str, int]) -> None:
        self._priority = priority
        self._limit = limit
        self._turn = turn
        self._share = -(-limit // _LINES)
        self._found: list[Step] = []
        self._taken = set[str]()
        self._counts = Counter[str]()
        """How many were taken of each line."""
        self._longer: dict[str, None] = {}
        """Lines in which more wait."""

    def steps(self) -> Generator[Look, Sequence[InLine], list[Step]]:
        """What the claim would take if there were no other priority."""
        line, taken = self._turn
        left = self._share - taken
        if left > 0:
            yield from self._line(line, left)
        yield from self._lines(line + _NEXT, LAST, self._share)
        if line != PLAIN:
            yield from self._line(PLAIN, self._share)
            yield from self._lines(_NEXT, line, self._share)
        yield from self._line(line, self._share)
        while self._room and self._longer:
            longer, self._longer = self._longer, {}
            share = -(-self._room // len(longer))
            for one in longer:
                yield from self._line(one, share)
        return self._found

    @property
    def _room(self) -> int:
        return self._limit - len(self._found)

    def _line(self, line: str, most: int) -> Generator[Look, Sequence[InLine], None]:
        """Take so many more of one line."""
        if not self._room:
            return
        look = Look(self._priority, line, line + _NEXT, self._counts[line] + min(most, self._room) + 1)
        rows = yield look
        self._take(line, _by_time(rows), most)

    def _lines(self, low: str, below: str, most: int) -> Generator[Look, Sequence[InLine], None]:
        """Take so many of each of these lines, one after the other."""
        while self._room:
            look = Look(self._priority, low, below, 2 * most + 1)
            rows = yield look
            lines, rest = _whole(rows, look.limit, most)
            for line in sorted(lines):
                if self._room:
                    self._take(line, _by_time(lines[line]), most)
            if rest is None:
                return
            low = rest

    def _take(self, line: str, rows: Sequence[InLine], most: int) -> None:
        """Take so many of these that are not taken yet."""
        new = [one for one in rows if one.instance_id not in self._taken]
        for number, one in enumerate(new[: min(most, self._room)], 1):
            self._found.append(Step(one, self._priority, Turn(line, self._share - most + number)))
            self._taken.add(one.instance_id)
            self._counts[line] += 1
        self._longer.pop(line, None)
        if len(new) > most:
            self._longer[line] = None


def _whole(rows: Sequence[InLine], limit: int, most: int) -> tuple[dict[str, list[InLine]], str | None]:
    """The lines of which these rows hold enough to take so many, and from which line on to look again. None: nowhere.

    `limit`: how many rows of each workflow there are at most.
    """
    of_workflows: dict[str, list[InLine]] = {}
    lines: dict[str, list[InLine]] = {}
    for one in rows:
        of_workflows.setdefault(one.workflow_name, []).append(one)
        lines.setdefault(one.line, []).append(one)
    ends = [some for some in of_workflows.values() if len(some) >= limit]
    if not ends:
        return lines, None
    last = min(some[-1].line for some in ends)
    for line in [line for line in lines if line > last]:
        del lines[line]
    if all(sum(one.line == last for one in some) > most for some in ends if some[-1].line == last):
        return lines, last + _NEXT
    del lines[last]
    return lines, last


def _by_time(rows: Iterable[InLine]) -> list[InLine]:
    return sorted(rows, key=lambda one: (one.wake_at, one.instance_id))
