"""The projection as text, its limits, and the index column."""

from __future__ import annotations

import json
import re
import tracemalloc

import pytest
from hypothesis import given

from romancy.storage.query import (
    MAX_INDEX_LENGTH,
    MAX_PROJECTION_BYTES,
    Contains,
    Equals,
    In,
    Missing,
    NotEquals,
    Range,
    compile_filters,
    contains,
    gt,
    index_predicate,
    index_value,
    missing,
    ne,
    one_of,
    project,
    project_with_index,
)
from romancy_conformance.query_corpus import DOCUMENTS
from romancy_conformance.query_strategies import raw_documents


def test_a_projection_is_flat_and_names_every_place() -> None:
    raw = b'{"order": {"status": "new", "items": [{"sku": "A 1", "qty": 2}], "note": null}, "vip": true, "none": {}}'

    assert {
        "order": "c",
        "order__status": "s:new",
        "order__items": "c",
        "order__items__0": "c",
        "order__items__0__sku": "s:A!)#1",
        "order__items__0__qty": "n:c",
        "order__note": "z",
        "vip": "b:1",
        "none": "c",
    } == json.loads(project(raw) or b"")


@given(raw_documents)
def test_any_document_becomes_one_object_of_plain_words(raw: bytes) -> None:
    projection = project(raw)

    assert projection is not None
    assert re.fullmatch(rb'\{("[a-z0-9_]+":"[!#-&(-\[\]-}]+"(,(?!\})|(?=\})))*\}', projection)


@pytest.mark.parametrize("raw", [raw for raw in DOCUMENTS if raw.startswith(b'{"') and project(raw) is not None])
def test_both_decoders_see_the_same_document(raw: bytes) -> None:
    """The second decoder reads the whole document when it has a number that no float can hold."""
    other = raw.rstrip()[:-1] + b',"last":1e400}'

    assert (project(raw) or b"").removesuffix(b"}") == (project(other) or b"").removesuffix(b',"last":"x"}')


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"NaN", b'{"a":Infinity}', b"\xff", b"\xef\xbb\xbf{}", b"{}x", b"\x80\x04K\x01."]
)
def test_what_is_not_json_is_not_searchable(raw: bytes) -> None:
    assert project(raw) is None
    assert index_value(raw, "a") is None


def test_the_size_limit_is_exact() -> None:
    filling = {f"p{number:03}": "x" * 500 for number in range(127)}

    def projected(length: int) -> bytes | None:
        return project(json.dumps(filling | {"a": "x" * length}).encode())

    rest = MAX_PROJECTION_BYTES - len(projected(0) or b"")
    assert 0 < rest < 512
    assert len(projected(rest) or b"") == MAX_PROJECTION_BYTES
    assert projected(rest + 1) is None


@pytest.mark.parametrize(
    "raw",
    [
        b'{"v":[' + b",".join([b"0"] * 1_000_000) + b"]}",
        b'{"' + b"k" * 60_000 + b'":[' + b",".join([b"[[]]"] * 1000) + b"]}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"' + b"k" * 70_000 + b'":1}',
    ],
    ids=["a million elements", "a long prefix", "a hundred thousand levels", "a long name"],
)
def test_a_hostile_document_is_not_searchable(raw: bytes) -> None:
    assert project(raw) is None


def test_a_hostile_document_takes_no_memory_beyond_its_own() -> None:
    raw = b'{"' + b"k" * 60_000 + b'":[' + b",".join([b"[0]"] * 5000) + b"]}"
    tracemalloc.start()

    projection = project(raw)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert projection is None
    assert peak < 5_000_000


def test_what_lies_deeper_than_a_path_can_reach_is_left_out() -> None:
    deepest = "__".join("a" * 32)
    members = json.loads(project(b'{"a":' * 40 + b"1" + b"}" * 40) or b"")

    assert len(members) == 32
    assert members[deepest] == "c"


def test_a_large_document_of_long_strings_stays_searchable() -> None:
    raw = json.dumps({f"text{number}": "long " * 10_000 for number in range(40)}).encode()

    assert len(project(raw) or b"") < 4000


def test_an_index_value_is_the_word_or_a_short_stand_in() -> None:
    raw = json.dumps({"id": "c 1", "n": 5, "z": None, "o": {}, "long": "é" * 100, "longer": "x" * 600}).encode()

    assert index_value(raw, "id") == "s:c!)#1"
    assert index_value(raw, "n") == "n:c014"
    assert index_value(raw, "z") == "z"
    assert index_value(raw, "o") == "c"
    assert index_value(raw, "absent") is None
    assert len(index_value(raw, "long") or "") == MAX_INDEX_LENGTH
    assert index_value(raw, "longer") == "l:" + (index_value(raw, "longer") or "")[2:]
    assert len(index_value(raw, "longer") or "") == 66


def test_a_projection_and_its_index_come_from_one_pass() -> None:
    raw = b'{"customer":{"id":7},"note":"hi"}'

    assert project_with_index(raw, ["customer.id", "absent"]) == (
        project(raw),
        (("customer.id", index_value(raw, "customer.id")), ("absent", None)),
    )
    assert project_with_index(b"not json", ["a"]) == (None, (("a", None),))


def test_index_values_that_share_a_long_beginning_differ() -> None:
    one, other = (json.dumps({"a": "x" * 300 + last}).encode() for last in "ab")

    assert index_value(one, "a") != index_value(other, "a")


def test_predicates_as_the_index_sees_them() -> None:
    def narrowed(value: object) -> object:
        (condition,) = compile_filters({"a": value})  # type: ignore[dict-item]  # any kind of filter
        return index_predicate(condition.predicate)

    assert narrowed("x") == Equals("s:x")
    assert narrowed(one_of("x", None)) == In(("s:x", "z"), or_missing=True)
    assert narrowed(gt("x")) == Range("s:x", False, "s:~", False)  # noqa: FBT003 - low, inclusive, high, inclusive
    assert narrowed(gt("x" * 200)) == Range("s:" + "x" * 188, True, "s:~", False)  # noqa: FBT003 - the same
    assert narrowed(missing()) == Missing()
    assert narrowed(ne("x")) is None
    assert narrowed(contains("x")) is None


def test_compiled_predicates() -> None:
    filters = {"a": ne(None), "b": contains("x y"), "c": contains("")}

    assert [condition.predicate for condition in compile_filters(filters)] == [
        NotEquals("z"),
        Contains("x!)#y"),
        Range("s:", True, "s:~", False),  # noqa: FBT003 - low, inclusive, high, inclusive
    ]
