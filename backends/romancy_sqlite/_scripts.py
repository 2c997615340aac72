"""The scripts of the adapter by name: its own, and those that all SQL databases share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.sql import DEFAULT_PREFIX, heads_of, queries_of
from romancy.storage.sqlkit.scripts import Pieces, shared_heads, shared_texts

if TYPE_CHECKING:
    from romancy.storage.sql import Head

__all__ = ["FILES", "PIECES", "heads", "texts"]

FILES: Final = ("queries.sql", "claims.sql", "outbox.sql", "routing.sql", "journal.sql", "rebuilding.sql")
PIECES: Final = Pieces(
    by_age="indexed by romancy_instances_newest",
    by_status="indexed by romancy_instances_status",
    then_join="cross join",
    by_end="indexed by romancy_instances_ended",
    at_address="indexed by romancy_interests_address",
    among="in (select value from json_each({}))",
)


def texts(prefix: str = DEFAULT_PREFIX) -> dict[str, str]:
    """SQLite knows parameters by their names."""
    return {**shared_texts(PIECES, prefix), **queries_of(__package__ or "", FILES, prefix)}


def heads() -> dict[str, Head]:
    """The heads of those that operations ask for."""
    return {**shared_heads(), **heads_of(__package__ or "", FILES)}
