"""The order in which a dispatch of a lane reads: what it misses has a mark of its own, or has moved the number."""

from __future__ import annotations

from romancy.storage.sqlkit.lanes import give_places


def test_marks_come_before_the_number_and_the_number_before_what_it_guards() -> None:
    request = next(give_places(["l/k/4/shop/7"], 10))

    assert [ask.script for ask in request.asks] == ["lane_marks", "lane_books", "lane_taken", "lane_waiting"]
