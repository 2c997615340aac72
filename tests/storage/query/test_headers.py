"""Headers in a projection: beside an input and apart from its paths, also where the input is not searchable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.storage.query import (
    MAX_PROJECTION_BYTES,
    build_query,
    declared_part,
    holds,
    members_of,
    missing,
    ne,
    path_key,
    project,
    project_with_index,
)
from romancy.storage.query._headers import header_key

INPUT = b'{"order":{"city":"Oslo"},"number":5}'
LARGE = b'["' + b"x" * MAX_PROJECTION_BYTES + b'",' + b",".join([b"1"] * MAX_PROJECTION_BYTES) + b"]"
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def projected(raw: bytes, headers: dict[str, str]) -> bytes | None:
    return project_with_index(raw, (), None, headers)[0]


@pytest.mark.parametrize("headers", [{}, {"traceparent": "00-1", "tracestate": "a=b", "baggage": "c=d"}])
@pytest.mark.parametrize("raw", [INPUT, b"{}", b"5", LARGE])
def test_without_headers_a_projection_stays_what_it_was(raw: bytes, headers: dict[str, str]) -> None:
    assert project(raw) == projected(raw, headers)


@pytest.mark.parametrize("raw", [INPUT, b"{}", b"5"])
def test_headers_stand_behind_the_input(raw: bytes) -> None:
    whole = projected(raw, {"tenant": "a b", "traceparent": "00-1"})

    assert whole is not None
    assert {**members_of(project(raw) or b""), "_h": "c", "_h__tenant": "s:a!)#b"} == members_of(whole)
    assert (project(raw) or b"")[:-1] == whole[: len(project(raw) or b"") - 1]


@given(headers=st.dictionaries(TEXTS.filter(bool), TEXTS, min_size=1), name=TEXTS, value=TEXTS)
def test_each_header_is_found_by_its_own_name_and_value(headers: dict[str, str], name: str, value: str) -> None:
    for raw in (INPUT, b'{"_h":"x","_h__a":"y"}', LARGE):
        whole = projected(raw, headers)
        for one, held in headers.items():
            assert holds(whole, build_query(headers={one: held}).conditions)
        assert (headers.get(name) == value) == holds(whole, build_query(headers={name: value}).conditions)


@given(TEXTS)
def test_no_path_of_an_input_is_the_key_of_a_header(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    if quoted.isprintable():
        assert not path_key(f'["{quoted}"]').startswith(("_h", "_x"))
    assert header_key(name).startswith("_h__")


def test_an_input_that_is_not_searchable_stays_so_beside_headers() -> None:
    whole = projected(LARGE, {"tenant": "acme"})

    assert {"_x": "c", "_h": "c", "_h__tenant": "s:acme"} == members_of(whole or b"")
    for filters in ({"a": missing()}, {"a": None}, {"a": ne(5)}, {"tenant": "acme"}):
        assert not holds(whole, build_query(filters).conditions), filters
        assert not holds(whole, build_query(filters, headers={"tenant": "acme"}).conditions), filters
    assert declared_part(whole, ("a",)) is None


def test_beside_a_codec_that_hides_inputs_headers_are_left_out() -> None:
    whole = projected(INPUT, {"tenant": "acme"})

    assert declared_part(project(INPUT), ("number",)) == declared_part(whole, ("number",))
    assert b"acme" not in (declared_part(whole, ("tenant", "_h", "h.tenant")) or b"")


def test_the_size_of_headers_does_not_count() -> None:
    headers = {f"h{number}": "," * 500 for number in range(30)}
    near = b'{"a":"' + b"x" * 400 + b'"}'

    assert holds(projected(near, headers), build_query({"a": "x" * 400}, headers={"h29": "," * 500}).conditions)
