"""Comparisons for `find_instances`, beside plain values: `{"amount": gte(100), "status": one_of("new", "paid")}`."""

from __future__ import annotations

from romancy.storage.query import (
    FilterValue,
    contains,
    gt,
    gte,
    is_null,
    lt,
    lte,
    missing,
    ne,
    one_of,
    startswith,
)

__all__ = [
    "FilterValue",
    "contains",
    "gt",
    "gte",
    "is_null",
    "lt",
    "lte",
    "missing",
    "ne",
    "one_of",
    "startswith",
]
