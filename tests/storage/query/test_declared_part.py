"""The part of a projection that may be in the clear beside a codec that hides inputs."""

from __future__ import annotations

import pytest

from romancy.storage.query import compile_filters, declared_part, holds, matches, members_of, missing, project

INPUT = b'{"order":{"city":"Oslo","items":[{"sku":"A"}],"name":"ann"},"note":"hidden","number":5}'


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        ((), {"_": "order", "order": "c", "note": "c", "number": "c"}),
        (("city",), {"order__city": "s:", "note": "c"}),
        (("order.city",), {"order__city": "s:", "note": "c"}),
        (("order.items.0.sku", "number"), {"order__items__0__sku": "s:", "number": "n:", "note": "c"}),
        (("nothing.here",), {"note": "c", "number": "c"}),
        (("note",), {"note": "s:", "number": "c"}),
    ],
)
def test_only_words_of_declared_paths_are_kept(paths: tuple[str, ...], kept: dict[str, str]) -> None:
    members = members_of(declared_part(project(INPUT, "order"), paths) or b"")

    assert {"_", "order", "note", "number"} <= members.keys()
    assert all(members[key].startswith(word) for key, word in kept.items())
    assert {key for key, word in members.items() if word != "c"} == {
        "_", *(key for key, word in kept.items() if word != "c" and key != "_"),
    }  # fmt: skip


def test_declared_paths_are_searched_as_in_the_whole_projection() -> None:
    part = declared_part(project(INPUT, "order"), ("city", "number"))
    for filters in ({"city": "Oslo"}, {"order.city": "Oslo"}, {"number": 5}, {"city": missing()}, {"number": 6}):
        assert matches(INPUT, filters, "order") == holds(part, compile_filters(filters))
    for filters in ({"name": "ann"}, {"note": "hidden"}, {"note": missing()}, {"order": missing()}):
        assert not holds(part, compile_filters(filters))


def test_what_is_not_searchable_stays_so() -> None:
    assert declared_part(None, ("a",)) is None
    assert b"{}" == declared_part(project(b"5"), ("a",))
