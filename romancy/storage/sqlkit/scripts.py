"""Texts that all SQL databases share, written for each dialect once, when they are loaded.

The files hold named scripts as an adapter's own do (`romancy.storage.sql`). Three things are particular to them:

- `{by_age}`, `{only :status}`: a word in braces is replaced by what the dialect has for it in `Pieces`.
- `-- gives: text, int`: the kinds of the columns. A driver that returns text as bytes needs them.
- `-- each: status`: what follows, up to `-- then` or the end, is written once for each status, in the place of
  `:status`; with `-- each: open status`, for those that are not terminal.

A dialect may have a text of its own under the same name, with the same parameters and columns.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from romancy.errors import InternalError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.sql import DEFAULT_PREFIX, bare, bodies_of, with_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FILES", "Pieces", "Row", "Run", "RunEach", "Script", "Value", "numbered", "shared_scripts", "written"]

FILES: Final = ("figures.sql", "lookups.sql")
_WORD: Final = re.compile(r" \{(\w+)(?: ([^{}]+))?\}")
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z]\w*)")
_GIVES: Final = re.compile(r"^-- gives: (.+)$", re.MULTILINE)
_EACH: Final = re.compile(r"^-- each: (open )?status\n(.*?)(?:^-- then\n|\Z)", re.MULTILINE | re.DOTALL)
_STATUS: Final = re.compile(r":status\b")
_KINDS: Final = frozenset({"text", "int", "bytes"})

Value: TypeAlias = "int | str | Sequence[str] | None"
Row: TypeAlias = Any
"""A tuple, or what a driver has for one."""


class Run(Protocol):
    async def __call__(self, script: str, values: Mapping[str, Value], /) -> Sequence[Row]:
        """Run one script, alone, and return its rows: text as `str`, bodies as `bytes`."""
        ...


class RunEach(Protocol):
    async def __call__(
        self, script: str, name: str, each: Sequence[str], values: Mapping[str, Value], /
    ) -> Sequence[Row]:
        """The one row of a script for each value of a parameter, in one round trip."""
        ...


class Pieces(NamedTuple):
    """What a dialect writes in the place of the words in braces: all in which the shared texts differ.

    In a piece, `{}` stands for what follows the word.
    """

    by_age: str = ""
    """The hint to use the index of the order of pages."""
    by_status: str = ""
    """The hint to use the index by status, and by age in it."""
    by_owner: str = ""
    """The hint to use the index by owner."""
    only: str = "= {}"
    """Equality with a value, where a planner must not choose the index of another order because of it."""
    within: str = ""
    """The beginning of an ORDER BY that names the first column of an index, of which there is one value."""
    among: str = "in ({})"
    """Membership in a list."""


class Script(NamedTuple):
    """A shared text for one dialect, with named parameters."""

    text: str
    kinds: tuple[str, ...]
    """Of its columns: `text`, `int` or `bytes`."""


@lru_cache(maxsize=64)
def shared_scripts(pieces: Pieces, prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> Mapping[str, Script]:
    """All shared texts by name, as this dialect has them."""
    found: dict[str, Script] = {}
    for file in FILES:
        text = (files(__package__ or "") / file).read_text(encoding="utf-8")
        for name, body in bodies_of(text, file).items():
            found[name] = Script(with_prefix(written(body, pieces), prefix, schema), _kinds(name, body))
    return MappingProxyType(found)


def written(body: str, pieces: Pieces) -> str:
    """A script as a dialect has it, without comments."""
    text = bare(_EACH.sub(_for_each_status, body))
    return _WORD.sub(lambda word: _piece(pieces, word[1], word[2] or ""), text)


def numbered(text: str) -> tuple[str, tuple[str, ...]]:
    """The text with `$1` and so on for its parameters, and their names in that order."""
    names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    return _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", text), names


def _for_each_status(part: re.Match[str]) -> str:
    statuses = [status for status in Status if not part[1] or status not in TERMINAL_STATUSES]
    branches = [_STATUS.sub(f"'{status.value}'", part[2].rstrip("; \n") + "\n") for status in statuses]
    more = "union all\n" if part[0].endswith("-- then\n") else ""
    return "union all\n".join(branches) + more


def _piece(pieces: Pieces, word: str, rest: str) -> str:
    if word not in Pieces._fields:
        raise InternalError(f"shared SQL: no piece of a dialect is called {word!r}")
    piece: str = getattr(pieces, word)
    return f" {piece.replace('{}', rest)}" if piece else ""


def _kinds(name: str, body: str) -> tuple[str, ...]:
    gives = _GIVES.search(body)
    kinds = () if gives is None else tuple(kind.strip() for kind in gives[1].split(","))
    if not kinds or not _KINDS.issuperset(kinds):
        raise InternalError(f"shared SQL, {name!r}: `-- gives:` must name the kind of each column")
    return kinds
