"""The query language: finding instances by their input, with one answer on every database. Pure; no SQL, no I/O.

Both sides meet in one column. When an instance starts, `project` encodes its input. A search compiles its filters with
`build_query` to conditions on that encoding, and an adapter turns each condition into one comparison of bytes.
`matches` is the reference that defines the right answer; `holds` decides the compiled form in Python.
"""

from __future__ import annotations

from romancy.storage.query._conditions import (
    Condition,
    Contains,
    Equals,
    In,
    Missing,
    NotEquals,
    Predicate,
    Range,
    compile_filters,
    index_predicate,
)
from romancy.storage.query._evaluate import holds, satisfies
from romancy.storage.query._filters import (
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
from romancy.storage.query._headers import is_of_input
from romancy.storage.query._paths import parse_path, path_key
from romancy.storage.query._projection import (
    MAX_INDEX_LENGTH,
    MAX_PROJECTION_BYTES,
    declared_part,
    index_text,
    index_value,
    member_at,
    members_of,
    project,
    project_with_index,
)
from romancy.storage.query._query import (
    DEFAULT_LIMIT,
    MAX_IDS,
    MAX_LIMIT,
    Query,
    build_query,
    folded,
    page_of,
    restrict,
    with_whole_name,
)
from romancy.storage.query._reference import matches
from romancy.storage.query._stored_conditions import Searched, encode_where
from romancy.storage.query._tokens import Position, decode_token, encode_token

__all__ = [
    "DEFAULT_LIMIT",
    "MAX_IDS",
    "MAX_INDEX_LENGTH",
    "MAX_LIMIT",
    "MAX_PROJECTION_BYTES",
    "Condition",
    "Contains",
    "Equals",
    "FilterValue",
    "In",
    "Missing",
    "NotEquals",
    "Position",
    "Predicate",
    "Query",
    "Range",
    "Searched",
    "build_query",
    "compile_filters",
    "contains",
    "declared_part",
    "decode_token",
    "encode_token",
    "encode_where",
    "folded",
    "gt",
    "gte",
    "holds",
    "index_predicate",
    "index_text",
    "index_value",
    "is_null",
    "is_of_input",
    "lt",
    "lte",
    "matches",
    "member_at",
    "members_of",
    "missing",
    "ne",
    "one_of",
    "page_of",
    "parse_path",
    "path_key",
    "project",
    "project_with_index",
    "restrict",
    "satisfies",
    "startswith",
    "with_whole_name",
]
