"""Words: the word of each scalar, and that words compare like values."""

from __future__ import annotations

import math
import re
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from romancy.storage.query._leaves import CEILING, Scalar, escape, is_int64, leaf, string_leaf
from romancy_conformance.query_strategies import numbers, strings

_short = strings.filter(lambda text: len(text.encode()) <= 512)
_sorted_numbers = numbers.filter(lambda number: isinstance(number, float) or is_int64(number))
_surrogates = st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010, categories=("Cs", "Lo", "Co", "Cn")))


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("pending", "s:pending"),
        ("", "s:"),
        ("a b", "s:a!)#b"),
        ("\x00", "s:!##"),
        ("[\\]", "s:[#[$]"),
        ("é", "s:{#(*$"),
        ("日", "s:|#+&,)*"),
        ("\u0fff", "s:{,,,,"),
        ("\u1000", "s:|#$####"),
        ("\U0003ffff", "s:|,,,,,,"),
        ("\U00040000", "s:}$######"),
        ("\U0010ffff", "s:})$,,,,,"),
        (True, "b:1"),
        (False, "b:0"),
        (None, "z"),
        (0, "n:8"),
        (1, "n:bff"),
        (1.0, "n:bff"),
        (-1, "n:400fffffffffffff"),
        (2**53, "n:c34"),
        (2**53 + 1, "n:c340000000000000001"),
        (2**63 - 1, "n:c3dfffffffffffff3ff"),
        (2**63, "i:9223372036854775808"),
        (-(2**63) - 1, "i:-9223372036854775809"),
        (2.0**63, "n:c3e"),
        (10**512, "x"),
        (math.inf, "x"),
        ("x" * 513, "l:" + sha256(b"x" * 513).hexdigest()),
    ],
)
def test_the_word_of_a_value_is_what_databases_already_hold(value: Scalar, word: str) -> None:
    assert word == leaf(value)


@pytest.mark.parametrize("number", [0.0, -0.0, 1.0, 2.0**53, 2.0**60, -(2.0**63)])
def test_an_integer_and_its_float_share_a_word(number: float) -> None:
    assert leaf(int(number)) == leaf(number)


def test_an_integer_beyond_64_bits_has_another_word_than_its_float_whoever_comes_first() -> None:
    assert leaf(1e19) != leaf(10**19)
    assert leaf(10**20) != leaf(1e20)


def test_characters_sort_and_none_is_found_in_another() -> None:
    edges = (0x0FFF, 0x1000, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x3FFFF, 0x40000, 0x10FFFF)
    codes = sorted({*range(0x180), *range(0x180, 0xD800, 997), *range(0xE000, 0x10FFFF, 9973), *edges})
    words = [escape(chr(code)) for code in codes]

    assert words == sorted(words)
    for place, word in enumerate(words):
        assert [place] == [other for other, text in enumerate(words) if word in text]


@given(_short, _short)
def test_words_sort_as_strings_do(one: str, other: str) -> None:
    assert (one < other) == (string_leaf(one) < string_leaf(other))


@given(st.one_of(_short, st.text(st.sampled_from("a ,!*)#é"), max_size=9)))
def test_the_short_way_to_a_word_leads_where_the_long_one_does(text: str) -> None:
    assert string_leaf(text) == "s:" + escape(text)


@given(_surrogates, _surrogates)
def test_halves_of_surrogate_pairs_sort_by_code_point_too(one: str, other: str) -> None:
    assert (one < other) == (string_leaf(one) < string_leaf(other))


@settings(max_examples=200)
@given(_sorted_numbers, _sorted_numbers)
def test_words_sort_as_numbers_do(one: float, other: float) -> None:
    assert (one < other, one == other) == (leaf(one) < leaf(other), leaf(one) == leaf(other))


@given(st.integers(-(2**63), 2**63 - 2))
def test_neighbouring_integers_sort(number: int) -> None:
    assert leaf(number) < leaf(number + 1)


@settings(max_examples=200)
@given(strings, st.one_of(strings, st.text(st.sampled_from("!#$&()*+,[{|}as: \x00é"), max_size=3)))
def test_an_escaped_string_is_found_exactly_where_the_string_is(text: str, needle: str) -> None:
    assert (needle in text) == (escape(needle) in escape(text))
    assert text.startswith(needle) == escape(text).startswith(escape(needle))


@given(strings, strings)
def test_a_string_is_found_exactly_in_what_it_was_put_into(before: str, after: str) -> None:
    assert escape(before + "é[ " + after) == escape(before) + escape("é[ ") + escape(after)


@given(st.one_of(strings, numbers, st.none(), st.booleans()))
def test_a_word_is_plain_ascii_below_the_ceiling(value: Scalar) -> None:
    assert re.fullmatch(r"[!-~]+", leaf(value))
    assert not set(leaf(value)) & set("\"'\\%" + CEILING)
