"""Loads an adapter's SQL: named queries from `.sql` files beside the adapter, under the wanted prefix.

A file is a sequence of queries. Each begins with `-- name: <name>` and at least one line of comment on its purpose.
The name of a script that an operation asks for (`romancy.storage.sqlkit.statements`) is followed by its head: its
parameters, and the columns of its rows if it returns rows. A parameter that is a table has columns. The head goes on
after a comma at the end of a line:

    -- name: outbox_settle (settled(outbox_id, state)) -> order_key

Table names are written with the prefix `romancy_`, which is replaced everywhere if the URL asks for another one, so
that the files stay valid SQL. Words for columns that are said once (`romancy.storage.columns`) are replaced, too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from romancy.errors import InternalError, StorageConfigurationError
from romancy.storage.columns import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

__all__ = [
    "DEFAULT_PREFIX",
    "Head",
    "bare",
    "bodies_of",
    "check_prefix",
    "heads_of",
    "load_heads",
    "load_queries",
    "queries_of",
    "with_prefix",
]

DEFAULT_PREFIX = "romancy_"
_NAME = re.compile(r"^-- name: (\w+)[ \t]*(\((?:[^\n]*,\n--)*[^\n]*)?$", re.MULTILINE)
_HEAD = re.compile(r"\(((?:\w+(?:\([\w, ]+\))?(?:, )?)*)\)(?: -> ([\w, ]+))?")
_ONE = re.compile(r"(\w+)(?:\(([\w, ]*)\))?")
_PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,31}")


class Head(NamedTuple):
    """What a script takes and returns."""

    parameters: Mapping[str, tuple[str, ...]]
    """The parameters in order, each with its columns if it is a table."""
    columns: tuple[str, ...]
    """The columns of its rows. Without any, it returns no rows."""


def check_prefix(prefix: str, what: str = "table prefix") -> str:
    """Refuse a prefix or schema that is more than a plain lower-case identifier: it becomes part of SQL text."""
    if not _PREFIX.fullmatch(prefix):
        raise StorageConfigurationError(
            f"{what} {prefix!r}: use up to 32 lower-case letters, digits and underscores, "
            "beginning with a letter or an underscore"
        )
    return prefix


def with_prefix(sql: str, prefix: str, schema: str | None = None) -> str:
    """The SQL with the prefix `romancy_` of every identifier replaced, and in a schema if one is named."""
    if schema is None:
        return sql if prefix == DEFAULT_PREFIX else re.sub(r"\bromancy_", check_prefix(prefix), sql)
    return re.sub(r"\bromancy_", f'"{check_prefix(schema, "schema")}".{check_prefix(prefix)}', sql)


@lru_cache(maxsize=64)
def queries_of(
    package: str, names: tuple[str, ...], prefix: str = DEFAULT_PREFIX, schema: str | None = None
) -> Mapping[str, str]:
    """All queries of these files of an adapter by name. A process reads them once for each prefix and schema."""
    queries: dict[str, str] = {}
    for name in names:
        queries |= load_queries(files(package) / name, prefix, schema)
    return MappingProxyType(queries)


@lru_cache(maxsize=64)
def heads_of(package: str, names: tuple[str, ...]) -> Mapping[str, Head]:
    """The heads of all scripts of these files that have one, by name."""
    heads: dict[str, Head] = {}
    for name in names:
        heads |= load_heads(files(package) / name)
    return MappingProxyType(heads)


def load_queries(file: Traversable, prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> dict[str, str]:
    """All queries of a file by name, without their comments."""
    text = with_prefix(spelled(file.read_text(encoding="utf-8")), prefix, schema)
    return {name: bare(body) for name, body in bodies_of(text, file.name).items()}


def bodies_of(text: str, file: str) -> dict[str, str]:
    """All queries of a file's text by name, with their comments."""
    bodies: dict[str, str] = {}
    for name, _, body in _sections(text):
        if name in bodies:
            raise InternalError(f"{file}: the query {name!r} is there twice")
        bodies[name] = body
    return bodies


def bare(body: str) -> str:
    """A query without its comments."""
    lines = [line for line in body.splitlines() if not line.lstrip().startswith("--")]
    return "\n".join(lines).strip().rstrip(";")


def load_heads(file: Traversable) -> dict[str, Head]:
    """The heads of a file's scripts that have one, by name."""
    text = spelled(file.read_text("utf-8"))
    return {name: _head(f"{file.name}: {name}", head) for name, head, _ in _sections(text) if head}


def _sections(text: str) -> Iterator[tuple[str, str, str]]:
    """The name, the head or nothing, and the rest of each query."""
    parts = _NAME.split(text)
    return zip(parts[1::3], (head or "" for head in parts[2::3]), parts[3::3], strict=True)


def _head(where: str, text: str) -> Head:
    found = _HEAD.fullmatch(re.sub(r"\s*\n--\s*", " ", text).strip())
    if found is None:
        raise InternalError(f"{where}: {text!r} is no head; write (parameters) -> columns")
    taken = {name: tuple(re.findall(r"\w+", columns)) for name, columns in _ONE.findall(found[1])}
    return Head(MappingProxyType(taken), tuple(re.findall(r"\w+", found[2] or "")))
