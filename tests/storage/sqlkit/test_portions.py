"""Batches are cut in order, by weight and by number, and nothing is omitted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.storage.sqlkit.portions import portions


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("", []),
        (["aa"], [["aa"]]),
        (["aaaaaaa", "b"], [["aaaaaaa"], ["b"]]),
        (["aa", "bb", "c"], [["aa", "bb"], ["c"]]),
        (["a", "", "", ""], [["a", "", ""], [""]]),
    ],
)
def test_a_portion_ends_where_the_next_item_has_no_room(items: list[str], expected: list[list[str]]) -> None:
    assert expected == list(portions(items, len, 4, 3))


@given(st.lists(st.text(max_size=9)), st.integers(1, 20), st.integers(1, 5))
def test_every_item_is_in_one_portion_in_order(items: list[str], heaviest: int, most: int) -> None:
    found = list(portions(items, len, heaviest, most))

    assert items == [item for portion in found for item in portion]
    assert all(portion and len(portion) <= most for portion in found)
    assert all(len(portion) == 1 or sum(map(len, portion)) <= heaviest for portion in found)
