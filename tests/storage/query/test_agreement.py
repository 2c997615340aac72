"""Compiled conditions on the projection give the same answer as the reference on the document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from romancy.errors import QueryError
from romancy.storage.query import (
    compile_filters,
    gt,
    gte,
    holds,
    index_predicate,
    index_value,
    is_null,
    lt,
    lte,
    matches,
    missing,
    ne,
    one_of,
    project,
    satisfies,
    startswith,
)
from romancy.storage.query._filters import read_filters
from romancy.storage.query._projection import members_of
from romancy_conformance.query_corpus import CASES, DOCUMENTS, REFUSED
from romancy_conformance.query_strategies import questions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.storage.query import FilterValue


def test_the_reference_and_the_compiled_form_answer_the_truth_table() -> None:
    wrong = [
        case.name
        for case in CASES
        if not case.expected
        == matches(case.document, case.filters)
        == holds(project(case.document), compile_filters(case.filters))
    ]

    assert wrong == []


@pytest.mark.long
def test_every_document_with_the_filters_of_the_others() -> None:
    documents = [(raw, project(raw)) for raw in DOCUMENTS]

    for case in CASES:
        question = compile_filters(case.filters)
        for raw, projection in documents:
            assert matches(raw, case.filters) == holds(projection, question), (raw, case.filters)


@pytest.mark.parametrize("filters", REFUSED)
def test_what_is_refused_is_refused_by_both(filters: Mapping[str, Any]) -> None:
    with pytest.raises(QueryError):
        compile_filters(filters)
    with pytest.raises(QueryError):
        matches(b"{}", filters)


def test_the_truth_table_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) >= 300
    assert len(CASES) == len({case.name for case in CASES})


@settings(max_examples=200, deadline=None)
@given(
    questions(), st.sampled_from(["given", "a", "größe", "v", ""]), st.sampled_from([b"", b',"a":{"b":1}', b',"v":2'])
)
def test_paths_that_leave_out_the_bare_parameter(
    question: tuple[bytes, dict[str, FilterValue]], bare: str, further: bytes
) -> None:
    """A stored input names its parameters. The first segment of a path decides whether the path does so too."""
    raw, filters = question
    stored = b"{%b:%b%b}" % (msgspec.json.encode(bare), raw, further)

    assert matches(stored, filters, bare) == holds(project(stored, bare), compile_filters(filters))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("order.customer.id", True),
        ("customer.id", True),
        ("note.text", False),
        ("note", True),
        ("text", False),
        ('["customer"].id', True),
        ("order", True),
        ("order.note", True),
    ],
)
def test_a_parameter_goes_before_a_member_of_the_bare_one(path: str, *, found: bool) -> None:
    stored = b'{"order":{"customer":{"id":1},"note":{"text":"x"}},"note":"n"}'

    assert found is holds(project(stored, "order"), compile_filters({path: ne("never")}))


def check_agreement(question: tuple[bytes, dict[str, FilterValue]]) -> None:
    raw, filters = question

    assert matches(raw, filters) == holds(project(raw), compile_filters(filters))


@settings(max_examples=200, deadline=None)
@given(questions())
@example((rb'{"a":"\ud800"}', {"a": lt("\ue000")}))
@example((b'{"a":18446744073709551616,"b":1.8446744073709551616e19}', {"a": 2.0**64}))
@example((b'{"a":18446744073709551616,"b":1.8446744073709551616e19}', {"b": 2**64}))
@example((b'{"a":null}', {"a": is_null(), "b": missing()}))
def test_any_document_with_any_filter(question: tuple[bytes, dict[str, FilterValue]]) -> None:
    check_agreement(question)


@pytest.mark.long
@settings(max_examples=1500, deadline=None)
@given(questions())
def test_many_documents_with_any_filter(question: tuple[bytes, dict[str, FilterValue]]) -> None:
    check_agreement(question)


@pytest.mark.parametrize("character", ["x", "é", "~", " "])
def test_the_index_column_never_hides_a_long_string(character: str) -> None:
    lengths = (0, 1, 36, 37, 38, 62, 63, 64, 84, 85, 86, 170, 187, 188, 189, 190, 252, 253, 254, 255, 256)
    texts = [text for length in lengths for text in (character * length, character * length + "a")]
    texts = [text for text in texts if len(text.encode()) <= 512]

    for text in texts:
        raw = json.dumps({"a": text}).encode()
        word, value = members_of(project(raw) or b"")["a"], index_value(raw, "a")
        for other in texts:
            for wanted in (other, one_of(other, "b"), gt(other), gte(other), lt(other), lte(other), startswith(other)):
                (condition,) = compile_filters({"a": wanted})
                narrowed = index_predicate(condition.predicate)
                assert narrowed is not None
                assert satisfies(value, narrowed) or not satisfies(word, condition.predicate)


def check_the_index(question: tuple[bytes, dict[str, FilterValue]]) -> None:
    raw, filters = question
    members = members_of(project(raw) or b"{}")
    paths = [clause.text for clause in read_filters(filters)]

    for path, condition in zip(paths, compile_filters(filters), strict=True):
        narrowed = index_predicate(condition.predicate)
        if narrowed is not None and satisfies(members.get(condition.key), condition.predicate):
            assert satisfies(index_value(raw, path), narrowed)


@settings(max_examples=100, deadline=None)
@given(questions())
def test_the_index_column_never_hides_a_match(question: tuple[bytes, dict[str, FilterValue]]) -> None:
    check_the_index(question)


@pytest.mark.long
@settings(max_examples=700, deadline=None)
@given(questions())
def test_the_index_column_never_hides_one_of_many_matches(question: tuple[bytes, dict[str, FilterValue]]) -> None:
    check_the_index(question)
