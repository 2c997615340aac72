"""Texts that all SQL databases share, written for each dialect once, when they are loaded.

The files hold named scripts with heads, as an adapter's own do (`romancy.storage.sql`). Two things are particular to
them:

- `{by_age}`, `{only :status}`: a word in braces is replaced by what the dialect has for it in `Pieces`.
- `-- each: status`: what follows, up to `-- then` or the end, is written once for each status, in the place of
  `:status`; with `-- each: open status`, for those that are not terminal.

A dialect may have a text of its own under the same name, with the same head.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.errors import InternalError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.sql import DEFAULT_PREFIX, bare, bodies_of, heads_of, with_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from romancy.storage.sql import Head

__all__ = ["FILES", "Pieces", "numbered", "shared_heads", "shared_texts", "written"]

FILES: Final = ("amending.sql", "figures.sql", "journal.sql", "lanes.sql", "lookups.sql")
_PACKAGE: Final = __package__ or ""
_WORD: Final = re.compile(r" \{(\w+)(?: ([^{}]+))?\}")
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z]\w*)")
_EACH: Final = re.compile(r"^-- each: (open )?status\n(.*?)(?:^-- then\n|\Z)", re.MULTILINE | re.DOTALL)
_STATUS: Final = re.compile(r":status\b")


class Pieces(NamedTuple):
    """What a dialect writes in the place of the words in braces: all in which the shared texts differ.

    In a piece, `{}` stands for what follows the word.
    """

    by_age: str = ""
    """The hint to use the index of the order of pages."""
    by_status: str = ""
    """The hint to use the index by status, and by age in it."""
    only: str = "= {}"
    """Equality with a value, where a planner must not choose the index of another order because of it."""
    within: str = ""
    """The beginning of an ORDER BY that names the first column of an index, of which there is one value."""
    as_if_newest: str = ""
    """An ORDER BY of what is only counted, where a planner without hints takes the index because of it."""
    among: str = "in ({})"
    """Membership in a list."""
    then_join: str = "join"
    """A join that reads what stands before it first, whatever a planner guesses of the rest."""
    by_end: str = ""
    """The hint to use the index of the ends."""
    end: str = "updated_at"
    """The column of that index: of what has ended, the time of the end."""
    ended: str = "and status in ('completed', 'failed', 'cancelled')"
    """The condition that leaves what has ended, where the index has nothing else."""
    at_address: str = ""
    """The hint to use the index of interests by address."""
    by_owner: str = ""
    """The hint to find interests by their owners."""
    now: str = ":now"
    """The time of the database."""
    held: str = ""
    """A lock on the rows that a query finds, where a transaction does not keep all others from writing."""
    lane: str = "substr({}, 1, instr({} || char(31), char(31)) - 1)"
    """The lane that has the line at an address (`whole_lane`)."""


def shared_heads() -> Mapping[str, Head]:
    """The heads of all shared texts by name."""
    return heads_of(_PACKAGE, FILES)


@lru_cache(maxsize=64)
def shared_texts(pieces: Pieces, prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> Mapping[str, str]:
    """All shared texts by name, as this dialect has them, with named parameters."""
    found: dict[str, str] = {}
    for file in FILES:
        text = (files(_PACKAGE) / file).read_text(encoding="utf-8")
        for name, body in bodies_of(text, file).items():
            found[name] = with_prefix(written(body, pieces), prefix, schema)
    return MappingProxyType(found)


def written(body: str, pieces: Pieces) -> str:
    """A script as a dialect has it, without comments."""
    text = bare(_EACH.sub(_for_each_status, body))
    return _WORD.sub(lambda word: _piece(pieces, word[1], word[2] or ""), text)


def numbered(text: str, parameters: Iterable[str]) -> str:
    """The text with `$1` and so on in the places of its parameters, in this order."""
    names = list(parameters)
    return _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", text)


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
