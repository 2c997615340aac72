"""The scripts of the adapter by name: its own, and those that all SQL databases share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.sql import DEFAULT_PREFIX, heads_of, queries_of
from romancy.storage.sqlkit.scripts import Pieces, shared_heads, shared_texts
from romancy_mysql._tidb import written_for_tidb
from romancy_mysql._vitess import written_for_vitess

if TYPE_CHECKING:
    from romancy.storage.sql import Head

__all__ = ["FILES", "OF_TIDB", "OF_VITESS", "PIECES", "heads", "texts"]

FILES: Final = ("queries.sql", "claims.sql", "outbox.sql", "routing.sql", "counts.sql", "schema.sql")
OF_TIDB: Final = ("tidb.sql",)
"""The scripts that TiDB needs in other words, and its own."""
OF_VITESS: Final = ("vitess.sql",)
"""The same for Vitess."""
_PACKAGE: Final = __package__ or ""
PIECES: Final = Pieces(by_age="force index (by_age)", by_status="force index (by_status)")


def texts(prefix: str = DEFAULT_PREFIX, *, tidb: bool = False, vitess: bool = False) -> dict[str, str]:
    """Values are written into them, in the places of named parameters."""
    own = {**shared_texts(PIECES, prefix), **queries_of(_PACKAGE, FILES, prefix)}
    if vitess:
        own |= queries_of(_PACKAGE, OF_VITESS, prefix)
        return {name: written_for_vitess(text) for name, text in own.items()}
    if not tidb:
        return own
    own |= queries_of(_PACKAGE, OF_TIDB, prefix)
    return {name: written_for_tidb(text) for name, text in own.items()}


def heads(*, tidb: bool = False, vitess: bool = False) -> dict[str, Head]:
    """The heads of those that operations ask for."""
    more = OF_TIDB if tidb else OF_VITESS if vitess else ()
    return {**shared_heads(), **heads_of(_PACKAGE, FILES + more)}
