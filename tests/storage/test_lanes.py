"""What a dispatch of a lane reads, in which order: what it misses has a mark of its own, or has moved the number."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from romancy.errors import InternalError
from romancy.storage.admission import Notes, Terms, decode_notes
from romancy.storage.routing import address_of_lane, key_of_lane, line_in_lane, priority_of_line, whole_lane
from romancy.storage.sqlkit.lanes import give_places
from romancy.storage.sqlkit.statements import Answer

LANE: Final = "l/k/4/shop/7"
TERMS: Final = msgspec.json.encode(Terms(concurrency=1))


def asked(first: str | None, plain: int = 1) -> list[str]:
    """What the dispatch of a lane asks for that has a free place, up to its writing."""
    giving = give_places([LANE], 10)
    request: Any = next(giving)
    scripts: list[str] = []
    while "route_write" not in [ask.script for ask in request.asks]:
        scripts += [ask.script for ask in request.asks]
        request = giving.send([answer_to(ask.script, ask.values, first, plain) for ask in request.asks])
    giving.close()
    return scripts


def answer_to(script: str, values: Any, first: str | None, plain: int) -> Answer:
    match script:
        case "lane_marks":
            rows: list[tuple[Any, ...]] = [("m", "every")]
        case "lane_books":
            rows = [(None, None, None, first, first, 1_000)]
        case "lane_taken":
            rows = [(0, 0)]
        case "lane_lines" if values["low"] <= (first or "") < values["below"]:
            rows = [("one", 1, "place", TERMS, 5, first)]
        case "lane_waiting":
            rows = [("two", 1, "place", TERMS, 5, LANE)] * plain
        case _:
            rows = []
    return Answer(rows, len(rows))


def test_marks_come_before_the_number_and_the_number_before_what_it_guards() -> None:
    assert ["lane_marks", "lane_books", "lane_taken", "lane_waiting"] == asked(None)


def test_lines_are_read_last_and_only_where_there_are_some() -> None:
    scripts = asked(line_in_lane(LANE, 0, "acme"), plain=0)

    assert ["lane_marks", "lane_books", "lane_taken", "lane_waiting", "lane_lines"] == scripts


def test_an_address_of_a_line_names_its_lane_and_its_priority() -> None:
    for priority in (-9, 0, 9):
        line = line_in_lane(LANE, priority, "acme")
        assert (LANE, priority, "7") == (whole_lane(line), priority_of_line(LANE, line), key_of_lane(line))
    assert line_in_lane(LANE, 9, "z") < line_in_lane(LANE, 0, "a") < line_in_lane(LANE, -9, "a")
    assert LANE == line_in_lane(LANE, 3, "")


def test_no_lane_has_the_address_of_a_line() -> None:
    assert "\x1f" not in address_of_lane("shop", "7\x1fJacme")


def test_notes_without_turns_are_the_begins_alone() -> None:
    assert b"[1,2]" == Notes((1, 2)).encoded()
    for notes in (Notes(), Notes((1, 2)), Notes((), {0: ("acme", 1)}), Notes((3,), {-9: ("", 0), 9: ("b", 2)})):
        assert notes == decode_notes(notes.encoded())
    assert Notes() == decode_notes(None)
    with pytest.raises(InternalError, match="the notes of a limit cannot be read"):
        decode_notes(b"7")
