"""The scripts of the adapter by name: its own, and those that all SQL databases share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.sql import DEFAULT_PREFIX, heads_of, queries_of
from romancy.storage.sqlkit.scripts import Pieces, numbered, shared_heads, shared_texts
from romancy_postgres._parts import statements_of

if TYPE_CHECKING:
    from romancy.storage.sql import Head

__all__ = ["FILES", "PIECES", "heads", "texts"]

FILES: Final = ("queries.sql", "commits.sql", "routing.sql", "claims.sql", "outbox.sql", "reading.sql", "upkeep.sql")
# Compared by `any`, a status stays in the order: the planner then cannot prefer to walk all instances by their age.
PIECES: Final = Pieces(only="= any (array[{}])", within="{},", among="= any ({}::text[])")


def texts(prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> dict[str, str]:
    """Parameters are numbered, in the order of the head."""
    shared, known = shared_texts(PIECES, prefix, schema), shared_heads()
    return {
        **{name: numbered(text, known[name].parameters) for name, text in shared.items()},
        **statements_of(queries_of(__package__ or "", FILES, prefix, schema)),
    }


def heads() -> dict[str, Head]:
    """The heads of those that operations ask for."""
    return {**shared_heads(), **heads_of(__package__ or "", FILES)}
