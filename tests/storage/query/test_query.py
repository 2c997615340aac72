"""Whole queries and page tokens."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.errors import QueryError
from romancy.status import Status
from romancy.storage.query import (
    MAX_IDS,
    Condition,
    Equals,
    Position,
    Query,
    build_query,
    decode_token,
    encode_token,
    gt,
    gte,
    lt,
    one_of,
)

_ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
_times = st.integers(-(2**63), 2**63 - 1)
_ONE, _OTHER = bytes(range(32)), bytes(range(1, 33))


def test_the_defaults_ask_for_everything() -> None:
    assert build_query() == Query(limit=50)


def test_a_query_holds_what_was_asked() -> None:
    assert build_query(
        {"order.status": "new"}, workflow_name="order", status=["waiting", Status.RUNNING], instance_id="o-", limit=7
    ) == Query(
        workflow_name="order",
        statuses=(Status.RUNNING, Status.WAITING),
        instance_id="o-",
        conditions=(Condition("order__status", Equals("s:new")),),
        limit=7,
    )


def test_one_status_and_empty_parts() -> None:
    assert build_query(status="failed", workflow_name="", instance_id="") == Query(statuses=(Status.FAILED,))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": 5.0}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"limit": None}, "limit"),
        ({"status": "complete"}, "status: unknown; give one or several of pending, running"),
        ({"status": ["running", "RUNNING"]}, "status: unknown"),
        ({"status": []}, "status: an empty list"),
        ({"status": 5}, "status"),
        ({"status": [5]}, "status: unknown"),
        ({"status": [["failed"]]}, "status: unknown"),
        ({"workflow_name": 5}, "workflow_name"),
        ({"workflow_name": "\ud800"}, "workflow_name"),
        ({"instance_id": "x" * 256}, "instance_id"),
        ({"instance_id": "a\x00"}, "instance_id"),
        ({"instance_id": b"a"}, "instance_id"),
        ({"filters": [("a", 1)]}, "filters must be a mapping"),
        ({"filters": {5: 1}}, "a path must be a string"),
        ({"filters": {"a..b": 1}}, "position 2"),
        ({"parent": ""}, "parent: is empty"),
        ({"parent": 5}, "parent: must be a string"),
        ({"parent": "x" * 256}, "parent: 256 bytes"),
        ({"parent": "a\x00"}, "parent"),
        ({"parent": "p", "top_level": True}, "give parent or top_level, not both"),
        ({"top_level": "yes"}, "top_level: must be True or False"),
        ({"top_level": None}, "top_level: must be True or False"),
        ({"oldest_first": 1}, "oldest_first: must be True or False"),
        ({"ids": "o-1"}, "ids: must be a list of ids, not str"),
        ({"ids": b"o-1"}, "ids: must be a list"),
        ({"ids": 5}, "ids: must be a list"),
        ({"ids": ["a", 5]}, "ids: must be a string, not int"),
        ({"ids": ["a", None]}, "ids: must be a string, not NoneType"),
        ({"ids": ["a", ""]}, "ids: is empty"),
        ({"ids": ["a", "\ud800"]}, "ids: holds half"),
        ({"ids": map(str, range(3))}, "ids: must be a list of ids, not map"),
        ({"ids": list(map(str, range(1001)))}, "ids: 1001 ids; give at most 1000"),
        ({"page_token": "x"}, "page_token"),
        ({"page_token": 5}, "page_token"),
        ({"page_token": ""}, "page_token"),
    ],
)
def test_a_malformed_query_is_refused(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(QueryError, match=complaint):
        build_query(**arguments)


def test_ids_are_in_order_and_each_once() -> None:
    assert ("a", "b") == build_query(ids=["b", "a", "b"]).ids
    assert () == build_query(ids=[]).ids
    assert MAX_IDS == len(build_query(ids=[str(number % MAX_IDS) for number in range(3 * MAX_IDS)]).ids or ())


def test_operators_combine_with_an_ampersand_only() -> None:
    assert len(build_query({"a": gte(1) & lt(5) & gt(2)}).conditions) == 3
    with pytest.raises(QueryError, match="combine two with &"):
        bool(gte(1) and lt(5))
    with pytest.raises(TypeError):
        gte(1) & 5  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression] - the mistake itself
    assert repr(gte(1) & one_of("a", None)) == "gte(1) & one_of('a', None)"


def test_a_page_token_continues_its_query() -> None:
    query = build_query({"a": 1, "b": 2}, status=["failed", "running"], limit=10)
    token = query.token_after(1_700_000_000_000_000, "order-é")

    again = build_query({"b": 2.0, "a": 1}, status=["running", "failed"], limit=500, page_token=token)

    assert again.after == Position(1_700_000_000_000_000, "order-é")
    assert again.limit == 500


def test_a_page_begins_at_its_token_or_before_an_earlier_time() -> None:
    token = build_query(limit=10).token_after(1_000, "o-1")

    assert Position(1_000, "o-1") == build_query(page_token=token, until=1_001).after
    assert Position(1_000, "") == build_query(page_token=token, until=1_000).after
    assert Position(7, "") == build_query(page_token=token, until=7).after


def test_a_page_of_the_oldest_first_begins_at_its_token_or_at_a_later_time() -> None:
    token = build_query(oldest_first=True).token_after(1_000, "o-1")

    assert Position(1_000, "o-1") == build_query(oldest_first=True, page_token=token, since=1_000).after
    assert Position(1_001, "") == build_query(oldest_first=True, page_token=token, since=1_001).after
    query = build_query(oldest_first=True, since=5, until=9, ended_until=7)
    assert (None, Position(5, ""), 7) == (query.since, query.after, query.until)
    assert (None, None, None) == (build_query(oldest_first=True).after, build_query(until=7).until, query.since)


def test_a_page_token_does_not_replace_a_bound_of_the_end() -> None:
    token = build_query(status="failed").token_after(1_000, "o-1")

    assert Position(1_000, "o-1") == build_query(status="failed", page_token=token, ended_until=1_001).after
    assert Position(1_000, "") == build_query(status="failed", page_token=token, ended_until=1_000).after
    assert Position(5, "") == build_query(status="failed", page_token=token, until=7, ended_until=5).after
    again = build_query(status="failed", page_token=token, ended_since=7, ended_until=2_000)
    assert (7, 2_000, Position(1_000, "o-1")) == (again.ended_since, again.ended_until, again.after)


@pytest.mark.parametrize(
    ("since", "until", "fitting"),
    [
        (None, None, {"completed 4", "completed 5", "running 4", "running 5", "stuck 4", "stuck 5"}),
        (5, None, {"completed 5"}), (None, 5, {"completed 4"}),
        (0, 9, {"completed 4", "completed 5"}), (5, 5, set[str]()),
    ],
)  # fmt: skip
def test_only_an_ended_instance_fits_the_bounds_of_the_end(
    since: int | None, until: int | None, fitting: set[str]
) -> None:
    query = build_query(ended_since=since, ended_until=until)

    rows = [(Status(status), at) for status in ("completed", "running", "stuck") for at in (4, 5)]
    assert fitting == {f"{status} {at}" for status, at in rows if query.fits_end(status, at)}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"filters": {"a": 1}},
        {"filters": {"a": 1, "b": 3}},
        {"filters": {"a": 1, "b": 2}, "status": "failed"},
        {"filters": {"a": 1, "b": 2}, "workflow_name": "w"},
        {"filters": {"a": 1, "b": 2}, "instance_id": "w"},
        {"filters": {"a": 1, "b": "2"}},
        {"filters": {"a": 1, "b": 2}, "oldest_first": True},
        {"filters": {"a": 1, "b": 2}, "parent": "p"},
        {"filters": {"a": 1, "b": 2}, "top_level": True},
        {"filters": {"a": 1, "b": 2}, "ids": []},
    ],
)
def test_a_page_token_of_another_query_is_refused(arguments: dict[str, Any]) -> None:
    token = build_query({"a": 1, "b": 2}).token_after(5, "i")

    with pytest.raises(QueryError, match="belongs to another query"):
        build_query(**arguments, page_token=token)


@given(_times, _ids)
def test_a_token_gives_its_position_back(created_at: int, instance_id: str) -> None:
    token = encode_token(_ONE, Position(created_at, instance_id))

    assert decode_token(_ONE, token) == Position(created_at, instance_id)
    assert token.isascii()
    with pytest.raises(QueryError):
        decode_token(_OTHER, token)


@given(_times, _ids, st.data())
def test_a_changed_token_is_refused(created_at: int, instance_id: str, data: st.DataObject) -> None:
    token = encode_token(_ONE, Position(created_at, instance_id))
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != token[place]))
    changed = data.draw(
        st.sampled_from(
            (
                token[:place] + other + token[place + 1 :],
                token[:place],
                token[:place] + other + token[place:],
                token + "=",
            )
        )
    )

    with pytest.raises(QueryError, match="page_token"):
        decode_token(_ONE, changed)


def test_a_token_of_another_version_says_so() -> None:
    sealed = bytearray(base64.urlsafe_b64decode(encode_token(_ONE, Position(1, "ab")) + "=="))
    sealed[0] = 2

    with pytest.raises(QueryError, match="another version"):
        decode_token(_ONE, base64.urlsafe_b64encode(bytes(sealed)).decode().rstrip("="))
