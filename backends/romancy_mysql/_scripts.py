"""The scripts of the adapter by name: its own, those that all SQL databases share, and those of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.sql import DEFAULT_PREFIX, heads_of, queries_of
from romancy.storage.sqlkit.scripts import Pieces, shared_heads, shared_texts
from romancy_mysql.engines import PLAIN

if TYPE_CHECKING:
    from romancy.storage.sql import Head
    from romancy_mysql.engines import Engine

__all__ = ["FILES", "PIECES", "heads", "texts"]

FILES: Final = ("queries.sql", "claims.sql", "outbox.sql", "routing.sql", "journal.sql", "counts.sql", "schema.sql")
_PACKAGE: Final = __package__ or ""
PIECES: Final = Pieces(
    by_age="force index (by_age)",
    by_status="force index (by_status)",
    then_join="straight_join",
    held="for update",
    by_end="force index (touched)",
    end="touched_at",
    ended="",
    at_address="force index (by_address)",
    by_owner="force index (primary)",
    now="timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))",
    lane="substring_index({}, char(31), 1)",
)


def texts(prefix: str = DEFAULT_PREFIX, engine: Engine = PLAIN) -> dict[str, str]:
    """Values are written into them, in the places of named parameters."""
    own = {**shared_texts(PIECES, prefix), **queries_of(_PACKAGE, FILES + engine.scripts, prefix)}
    return own if engine.written is None else {name: engine.written(text) for name, text in own.items()}


def heads(engine: Engine = PLAIN) -> dict[str, Head]:
    """The heads of those that operations ask for."""
    return {**shared_heads(), **heads_of(_PACKAGE, FILES + engine.scripts)}
