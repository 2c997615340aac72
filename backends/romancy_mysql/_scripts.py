"""The scripts of the adapter by name: its own, and those that all SQL databases share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.sql import DEFAULT_PREFIX, heads_of, queries_of
from romancy.storage.sqlkit.scripts import Pieces, shared_heads, shared_texts

if TYPE_CHECKING:
    from romancy.storage.sql import Head

__all__ = ["FILES", "PIECES", "heads", "texts"]

FILES: Final = ("queries.sql", "claims.sql", "outbox.sql", "routing.sql", "counts.sql", "schema.sql")
PIECES: Final = Pieces(by_age="force index (by_age)", by_status="force index (by_status)")


def texts(prefix: str = DEFAULT_PREFIX) -> dict[str, str]:
    """Values are written into them, in the places of named parameters."""
    return {**shared_texts(PIECES, prefix), **queries_of(__package__ or "", FILES, prefix)}


def heads() -> dict[str, Head]:
    """The heads of those that operations ask for."""
    return {**shared_heads(), **heads_of(__package__ or "", FILES)}
