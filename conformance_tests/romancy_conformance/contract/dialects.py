"""What the suite has to say in a database's own words: a newer schema, the driver's name.

Keyed by the first word of what a store calls itself (`Capabilities.name`). An adapter that is not here is judged by
everything else; the few tests that need these words are skipped for it, and say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import Struct

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["DIALECTS", "Dialect", "dialect_of"]


class Dialect(Struct, frozen=True, kw_only=True):
    """One database's own words."""

    driver: str
    """The module without which the adapter cannot work."""
    newer_schema: str
    """Records a schema version that does not exist yet."""


DIALECTS = {
    "SQLite": Dialect(
        driver="sqlite_utils",
        newer_schema=(
            "insert into romancy_schema (migration_set, name, applied_at) "
            "values ('romancy', '9999_future', '2100-01-01')"
        ),
    ),
    "PostgreSQL": Dialect(
        driver="asyncpg",
        newer_schema="insert into romancy_schema (version, name) values (9999, '9999_future')",
    ),
    "MySQL": Dialect(
        driver="aiomysql",
        newer_schema="insert into romancy_schema (version, step) values (9999, 1)",
    ),
    "MariaDB": Dialect(
        driver="aiomysql",
        newer_schema="insert into romancy_schema (version, step) values (9999, 1)",
    ),
}


def dialect_of(store: Store) -> Dialect:
    """The words of an open store's database; skips the test if the suite does not know them."""
    product = store.capabilities.name.split()[0]
    if product not in DIALECTS:
        pytest.skip(f"capability: the suite does not know the dialect of {product}")
    return DIALECTS[product]
