"""Generated documents and filters for the query language, drawn so that they often match.

Documents are drawn as JSON text, not as Python values: repeated names, `1e400`, `-0`, lone surrogates and needless
escapes exist only in text. Most filters point at places that the document has, and ask for values near those found
there. No filter is drawn that a store could refuse.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import strategies as st

from romancy.storage.query import contains, gt, gte, is_null, lt, lte, missing, ne, one_of, startswith

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DrawFn, SearchStrategy

    from romancy.storage.query import FilterValue

__all__ = ["filters_for", "names", "numbers", "path_text", "questions", "raw_documents", "strings"]

_Json: TypeAlias = "dict[str, _Json] | list[_Json] | str | int | float | bool | None"

_ODD_STRINGS = (
    "", " ", "  ", "a", "A", "a ", "aa", "ab", "abc", "b", "0", "1", "01", "-1", "1.0", "true", "null", "pending",
    "!", '"', "#", "$", "%", "&", "'", "(", ")", "*", "+", ",", "-", "[", "\\", "]", "_", "__", "`", "{", "|", "}", "~",
    "\x00", "a\x00", "a\x00b", "\x1f", "\x7f", "\x80", "\xe9", "e\u0301", "\u0fff", "\u1000", "\ue000", "\uffff",
    "\U00010000", "\U0003ffff", "\U00040000", "\U0010ffff", "\U0001f600",
    "s:a", "z", "_z", "_41", "a__b", "a.b", 'a"b', "$[*]", "{a,b}", "' OR '1'='1",
    "x" * 188, "x" * 189, "x" * 255, "x" * 511, "x" * 512, "x" * 513, "x" * 512 + "y",
    "\xe9" * 256, "\xe9" * 257, " " * 90,
)  # fmt: skip
_ODD_INTEGERS = tuple(
    sign * (base + offset)
    for base in (0, 1, 10, 255, 2**52, 2**53, 2**54, 2**62, 2**63, 2**64, 10**19, 10**300, 10**400, 10**512 - 2)
    for offset in (-1, 0, 1)
    for sign in (1, -1)
)
_ODD_FLOATS = tuple(
    sign * number
    for number in (0.0, 0.1, 0.5, 1.0, 1.5, 2.0**53, 2.0**60, 2.0**63, 1e19, 1e308, sys.float_info.max, 5e-324, 1e-308)
    for sign in (1, -1)
)
_ODD_NUMBER_TEXTS = (
    "-0", "-0.0", "0e5", "1E0", "10e-1", "1.000", "1e5", "1e400", "-1e400", "1e-400", "9007199254740993.0",
    "0.1000000000000000055511151231257827", "1" * 513, "-" + "9" * 513, "1" * 5000, "123456789012345678901234567890.5",
)  # fmt: skip

numbers: SearchStrategy[int | float] = st.one_of(
    st.sampled_from(_ODD_INTEGERS),
    st.sampled_from(_ODD_FLOATS),
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
strings = st.one_of(
    st.sampled_from(_ODD_STRINGS),
    st.text(st.sampled_from('ab !"#)\\[~\x00\xe9\u1000\U0001f600'), max_size=6),
    st.text(max_size=12),
)
names = st.one_of(st.sampled_from(("a", "b", "0", "1")), st.sampled_from(_ODD_STRINGS), st.text(max_size=8))
_texts_of_strings = st.one_of(
    strings.map(json.dumps),
    strings.map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from((r'"\ud800"', r'"a\udfff"', r'"\ud83d\ude00"', r'"\u0061"', r'"\/"')),
)
_texts_of_scalars = st.one_of(
    st.sampled_from(("null", "true", "false", "{}", "[]")),
    _texts_of_strings,
    numbers.map(json.dumps),
    st.sampled_from(_ODD_NUMBER_TEXTS),
)


def _containers_of(texts: SearchStrategy[str]) -> SearchStrategy[str]:
    members = st.tuples(st.one_of(names.map(json.dumps), _texts_of_strings), texts).map(" : ".join)
    return st.one_of(
        st.lists(texts, max_size=4).map(lambda elements: "[" + ", ".join(elements) + "]"),
        st.lists(members, max_size=5).map(lambda pairs: "{" + ",".join(pairs) + "}"),
    )


def _nested(texts: SearchStrategy[str]) -> SearchStrategy[str]:
    """Return a document with something under about thirty levels of `a`."""
    return st.tuples(st.integers(29, 34), texts).map(lambda drawn: '{"a":' * drawn[0] + drawn[1] + "}" * drawn[0])


raw_documents: SearchStrategy[bytes] = st.one_of(
    st.recursive(_texts_of_scalars, _containers_of, max_leaves=12),
    _containers_of(_texts_of_scalars),
    _nested(_texts_of_scalars),
).map(str.encode)


def path_text(path: tuple[str, ...], *, quoted: bool = False) -> str:
    """Return a way to write a path: bare where possible, unless asked otherwise."""
    bare = re.compile(r"0|[1-9][0-9]*|(?!-?\d+\Z)[\w-]+")
    steps = [name if bare.fullmatch(name) and not quoted else f"[{json.dumps(name)}]" for name in path]
    return ".".join(steps)


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _places(value: _Json, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], _Json]]:
    if path:
        yield path, value
    if isinstance(value, list):
        value = {str(index): element for index, element in enumerate(value)}
    if isinstance(value, dict) and len(path) < 32:
        for name, inner in value.items():
            if _is_text(name):
                yield from _places(inner, (*path, name))


def _near(found: _Json) -> list[Any]:
    """Return values that a filter must distinguish from the document's value, and the value itself."""
    if isinstance(found, str) and _is_text(found):
        pieces = (found, found[:-1], found[1:], found + " ", found + "a", found.swapcase(), found[len(found) // 2 :])
        return [piece for piece in pieces if _is_text(piece)]
    if isinstance(found, bool):
        return [found, not found, int(found), str(found).lower()]
    if isinstance(found, int):
        near = [number for number in (found, found + 1, found - 1) if abs(number) < 10**512]
        return [*near, str(found), *([float(found)] if abs(found) < sys.float_info.max else [])]
    if isinstance(found, float) and math.isfinite(found):
        floats = (found, math.nextafter(found, math.inf), math.nextafter(found, -math.inf))
        return [*filter(math.isfinite, floats), int(found)]
    return [None]


_scalars = st.one_of(st.none(), st.booleans(), numbers, strings)


def _can_bound(value: Any) -> bool:
    if isinstance(value, str):
        return len(value.encode()) <= 512
    if isinstance(value, int):
        return not isinstance(value, bool) and -(2**63) <= value < 2**63
    return isinstance(value, float)


def _wordings(value: Any, other: Any) -> list[FilterValue]:
    """Return all conditions with a value, some of them with a second one."""
    wordings: list[FilterValue] = [value, ne(value), one_of(value, other), missing(), is_null()]
    if _can_bound(value):
        wordings += [gt(value), gte(value), lt(value), lte(value)]
        if _can_bound(other):
            wordings.append(gte(value) & lt(other))
        if isinstance(value, str):
            wordings += [startswith(value), contains(value)]
    return wordings


@st.composite
def filters_for(draw: DrawFn, raw_document: bytes) -> dict[str, FilterValue]:
    """Draw one to three filters for a document that was drawn before."""
    places = list(_places(_decode(raw_document)))
    filters: dict[str, FilterValue] = {}
    for _ in range(draw(st.integers(1, 3))):
        path: tuple[str, ...] = ()
        found: _Json = None
        if places and draw(st.integers(0, 5)) > 0:
            path, found = draw(st.sampled_from(places))
        if not path or draw(st.integers(0, 7)) == 0:
            path = (*path[:31], draw(names))
        values = _near(found)
        value, other = (draw(st.sampled_from(values)) if draw(st.integers(0, 2)) else draw(_scalars) for _ in "ab")
        text = path_text(path, quoted=draw(st.booleans()))
        if len(text) <= 1024:
            filters[text] = draw(st.sampled_from(_wordings(value, other)))
    return filters


@st.composite
def questions(draw: DrawFn) -> tuple[bytes, dict[str, FilterValue]]:
    """Draw a document's JSON text and a filter that may or may not match it."""
    raw_document = draw(raw_documents)
    return raw_document, draw(filters_for(raw_document))


def _decode(raw_document: bytes) -> _Json:
    document: _Json = json.loads(raw_document, parse_int=_integer)
    return document


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= 512 else math.inf
