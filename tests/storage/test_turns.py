"""Lines take turns: whatever waits and however many a claim takes, each line has its share."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from romancy.errors import UsageError
from romancy.storage.ranks import AHEAD
from romancy.storage.turns import PLAIN, Chosen, InLine, Look, check_key, choose, line_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

LINES = st.sampled_from([PLAIN, "a", "b", "b\x1f1", "c", "zz", "ä"])


class Database:
    """Answers as a store does: of each workflow so many, in the order of the lines and of their times."""

    def __init__(self, rows: list[tuple[int, InLine]]) -> None:
        self.rows = rows
        self.read = 0

    def look(self, wanted: Look) -> list[InLine]:
        found: list[InLine] = []
        for name in {one.workflow_name for _, one in self.rows}:
            some = [
                one
                for priority, one in self.rows
                if (priority, one.workflow_name) == (wanted.priority, name) and wanted.low <= one.line < wanted.below
            ]
            some.sort(key=lambda one: (one.line.encode(), one.wake_at))
            found += some[: wanted.limit]
        self.read += len(found)
        return found

    def chosen(self, choosing: Generator[Look, Sequence[InLine], Chosen]) -> Chosen:
        """Answer what is asked, up to the choice."""
        wanted = next(choosing)
        while True:
            try:
                wanted = choosing.send(self.look(wanted))
            except StopIteration as end:
                chosen: Chosen = end.value
                return chosen

    def claim(self, limit: int, turns: dict[int, tuple[str, int]]) -> list[InLine]:
        """What a claim takes. It is gone then, and the turns go on."""
        chosen = self.chosen(choose({priority for priority, _ in self.rows}, limit, turns))
        turns |= chosen.turns
        taken = [one for found in chosen.due for _, one in self.rows if one.instance_id == found]
        self.rows = [row for row in self.rows if row[1].instance_id not in chosen.due]
        return taken


def waiting(lines: list[str], *, workflows: int = 1, priority: int = 0) -> list[tuple[int, InLine]]:
    return [
        (priority, InLine(f"flow {number % workflows}", line, f"{priority} {number:06}", number))
        for number, line in enumerate(lines)
    ]


@given(st.lists(LINES, max_size=40), st.integers(1, 3), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_all_are_taken_once_and_no_line_waits_longer_than_a_round(
    lines: list[str], workflows: int, limits: list[int]
) -> None:
    database = Database(waiting(lines, workflows=workflows))
    turns: dict[int, tuple[str, int]] = {}
    taken: list[InLine] = []
    while database.rows:
        limit = limits[len(taken) % len(limits)]
        here = len(database.rows)
        found = database.claim(limit, turns)
        assert len(found) == min(limit, here)
        taken += found

    assert sorted(one.instance_id for one in taken) == sorted(one.instance_id for _, one in waiting(lines))
    for line in set(lines):
        times = [one.wake_at for one in taken if one.line == line]
        assert times == sorted(times)


@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(2, 12))
def test_long_lines_have_equal_shares(limit: int, count: int) -> None:
    names = [PLAIN, *(f"line {number:02}" for number in range(count - 1))]
    database = Database(waiting(names * 60))
    turns: dict[int, tuple[str, int]] = {}
    taken: Counter[str] = Counter()
    while taken.total() < 30 * count:
        taken.update(one.line for one in database.claim(limit, turns))

    assert set(taken) == set(names)
    assert max(taken.values()) - min(taken.values()) <= 2 * limit


def test_a_claim_of_many_reads_a_few_for_each_that_it_takes() -> None:
    database = Database(waiting(["large"] * 5_000 + [f"small {number}" for number in range(20)] * 50))

    assert len(database.claim(100, {})) == 100
    assert database.read < 600


def test_a_higher_priority_goes_first_and_what_has_waited_an_hour_before_it() -> None:
    low = [(0, InLine("flow", line, f"low {line}", 0)) for line in "ab"]
    high = [(1, InLine("flow", "a", "high", AHEAD - 1)), (1, InLine("flow", "b", "late", AHEAD + 1))]
    database = Database(low + high)

    assert [database.claim(1, {})[0].instance_id for _ in range(4)] == ["high", "low a", "low b", "late"]


def test_a_weight_is_a_number_of_lines() -> None:
    lines = Counter(line_of("acme", 3, number) for number in range(300))

    assert len(lines) == 3
    assert set(lines.values()) == {100}
    assert line_of("acme", 1, 7) == "acme"
    assert line_of("", 1, 7) == PLAIN
    assert all(line.startswith("acme") and line < "acme " for line in lines)


@pytest.mark.parametrize("wrong", ["", "a\nb", "a\x00b", "\ud800", "ä" * 101])
def test_what_is_no_key_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match="the key"):
        check_key(wrong, "the key")
