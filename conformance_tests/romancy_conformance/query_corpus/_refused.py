"""Filters that are refused with `QueryError` before any database is asked, whatever it holds."""

# ruff: noqa: FBT003 - a boolean is what is looked for

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from romancy.storage.query import contains, gt, gte, lt, lte, ne, one_of, startswith

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["REFUSED"]


# Without their types, as a caller without a type checker may use them.
_gte: Any = gte
_ne: Any = ne
_one_of: Any = one_of
_contains: Any = contains
_startswith: Any = startswith

_BAD_PATHS = (
    "",
    ".",
    ".a",
    "a.",
    "a..b",
    "a b",
    " a",
    "a ",
    "a\n",
    "a\x00",
    "$",
    "$.a",
    "$[*]",
    "a[0]",
    "a[*]",
    "a[]",
    "a[",
    "a]",
    "a['b']",
    'a["b',
    'a["b]',
    'a["b"c',
    'a["b"] ',
    r'["\x41"]',
    r'["\ud800"]',
    '["a\nb"]',
    'a"b',
    "a'b",
    "a' OR '1'='1",
    "a;--",
    "{a,b}",
    "a\\b",
    "a/b",
    "items.01",
    "items.-1",
    "items.\u0661",
    "01",
    "-1",
    "a.*",
    "a:b",
    "caf\u0065\u0301",
    "\ud800",
    "a" * 1025,
    ".".join("a" * 33),
    ".".join("a" * 10_000),
)
_BAD_VALUES: tuple[Any, ...] = (
    [],
    ["a"],
    {},
    {"a": 1},
    ("a",),
    {"a"},
    object(),
    1j,
    float("nan"),
    float("inf"),
    float("-inf"),
    10**512,
    -(10**5000),
    "\ud800",
    "a\udfff",
    gt(None),
    gt(True),
    _gte([1]),
    lt(float("nan")),
    lte(2**63),
    gt(-(2**63) - 1),
    gt("\ud800"),
    lt("x" * 513),
    lt("\u00e9" * 257),
    gt(datetime(2024, 1, 31, tzinfo=UTC)),
    gt(timedelta(days=1)),
    gt(Decimal(5)),
    gt(b"x"),
    _ne([]),
    _ne({"a": 1}),
    _ne(gt(1)),
    one_of(),
    _one_of(["a", "b"]),
    one_of(*range(257)),
    one_of("a", "\ud800"),
    _contains(5),
    _contains(None),
    contains("x" * 513),
    _startswith(True),
    startswith("\ud800"),
)

REFUSED: tuple[Mapping[str, Any], ...] = (
    *({path: "x"} for path in _BAD_PATHS),
    *({"a": value} for value in _BAD_VALUES),
    {"good": "x", "bad..path": "y"},
    {f"a{number}": number for number in range(65)},
)
