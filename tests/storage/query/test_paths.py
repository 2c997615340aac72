"""Paths and keys."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.errors import QueryError
from romancy.storage.query import parse_path, path_key
from romancy.storage.query._paths import SEPARATOR, encode_names
from romancy_conformance.query_strategies import names, path_text

_paths = st.lists(names.filter(lambda name: len(name) < 40), min_size=1, max_size=6).map(tuple)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("customer_id", ("customer_id",)),
        ("order.items.0.sku", ("order", "items", "0", "sku")),
        ("a-b.c_d.e1", ("a-b", "c_d", "e1")),
        ("1a.01b", ("1a", "01b")),
        ("größe.名前", ("größe", "名前")),
        ('["a.b"]', ("a.b",)),
        ('a["b.c"].d', ("a", "b.c", "d")),
        ('a.["b"]["c"]', ("a", "b", "c")),
        (r'["say \"hi\"\u0000"]', ('say "hi"\x00',)),
        (r'["\ud83d\ude00"]', ("\U0001f600",)),
        ('["]"].a', ("]", "a")),
        ('["01"]', ("01",)),
        ('[""]', ("",)),
    ],
)
def test_the_segments_of_a_path(text: str, path: tuple[str, ...]) -> None:
    assert path == parse_path(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "position 0: a name is missing at the end"),
        ("order.", "position 6: a name is missing at the end"),
        ("order..id", "position 6: a name is missing before the dot"),
        ("unit price", "position 4: ' ' cannot stand in a bare name"),
        ("items[0]", "position 5: brackets hold a JSON string"),
        ('["a"]b', "position 5: a dot must separate names"),
        ("items.-1", "position 6: '-1' is not an index"),
        (r'a["\ud800"]', "position 1: the name holds half of a surrogate pair"),
    ],
)
def test_a_malformed_path_is_refused_with_its_position(text: str, complaint: str) -> None:
    with pytest.raises(QueryError, match=re.escape(complaint)):
        parse_path(text)


@given(_paths, st.booleans())
def test_every_path_can_be_written(path: tuple[str, ...], quoted: bool) -> None:  # noqa: FBT001 - drawn
    assert path == parse_path(path_text(path, quoted=quoted))


@given(st.text(max_size=20))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        path = parse_path(text)
    except QueryError:
        return
    assert path == parse_path(path_text(path))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("status", "status"),
        ("order.items.0.sku", "order__items__0__sku"),
        ("customer_id", "customer_5fid"),
        ("customerId", "customer_49d"),
        ('["a.b"]', "a_2eb"),
        ('[""]', "_z"),
        ('a[""].b', "a___z__b"),
        ("größe", "gr_c3_b6_c3_9fe"),
    ],
)
def test_the_key_of_a_path(text: str, key: str) -> None:
    assert key == path_key(text)


@given(_paths)
def test_a_key_is_one_plain_word_that_gives_the_path_back(path: tuple[str, ...]) -> None:
    key = SEPARATOR.join(encode_names(path))

    assert re.fullmatch(r"[a-z0-9_]+", key)
    assert path == _read_key(key)


def _read_key(key: str) -> tuple[str, ...]:
    """Decode a key from the left, as the docstring of the module describes."""
    names: list[bytes] = [b""]
    tokens = re.findall(r"__|_z|_[0-9a-f]{2}|[a-z0-9]", key)
    assert key == "".join(tokens)
    for token in tokens:
        if token == SEPARATOR:
            names.append(b"")
        elif token != "_z":
            names[-1] += bytes.fromhex(token[1:]) if len(token) > 1 else token.encode()
    return tuple(name.decode() for name in names)
