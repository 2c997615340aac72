"""What differs for each database in this suite: the SQL that records newer schemas, and the driver's name.

The key is the first word of the store's own name (`Capabilities.name`). An adapter that is not listed here runs all
other tests; the few tests that need an entry are skipped with a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import Struct

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["DIALECTS", "Dialect", "dialect_of"]


class Dialect(Struct, frozen=True, kw_only=True):
    """What the suite needs to know about one database."""

    driver: str
    """The module without which the adapter cannot work."""
    newer_schema: str
    """Records a schema version that does not exist yet, and says nothing about older code."""
    additive_schema: str
    """Records one on which older code may continue."""


DIALECTS = {
    "SQLite": Dialect(
        driver="sqlite_utils",
        newer_schema=(
            "insert into romancy_schema (migration_set, name, applied_at) "
            "values ('romancy', '9999_future', '2100-01-01')"
        ),
        additive_schema=(
            "insert into romancy_schema (migration_set, name, applied_at, additive) "
            "values ('romancy', '9998_future', '2100-01-01', 1)"
        ),
    ),
    "PostgreSQL": Dialect(
        driver="asyncpg",
        newer_schema="insert into romancy_schema (version, name, applied_at) values (9999, '9999_future', 0)",
        additive_schema=(
            "insert into romancy_schema (version, name, applied_at, additive) values (9998, '9998_future', 0, true)"
        ),
    ),
    "MySQL": Dialect(
        driver="aiomysql",
        newer_schema="insert into romancy_schema (version, step, at) values (9999, 1, 0)",
        additive_schema=(
            "insert into romancy_schema (version, step, at, name, additive) "
            "values (9998, 0, 0, '9998_future', 1), (9998, 1, 0, '', 0)"
        ),
    ),
    "TiDB": Dialect(
        driver="aiomysql",
        newer_schema="insert into romancy_schema (version, step, at) values (9999, 1, 0)",
        additive_schema=(
            "insert into romancy_schema (version, step, at, name, additive) "
            "values (9998, 0, 0, '9998_future', 1), (9998, 1, 0, '', 0)"
        ),
    ),
    "Vitess": Dialect(
        driver="aiomysql",
        newer_schema="insert into romancy_schema (version, step, at) values (9999, 1, 0)",
        additive_schema=(
            "insert into romancy_schema (version, step, at, name, additive) "
            "values (9998, 0, 0, '9998_future', 1), (9998, 1, 0, '', 0)"
        ),
    ),
    "MariaDB": Dialect(
        driver="aiomysql",
        newer_schema="insert into romancy_schema (version, step, at) values (9999, 1, 0)",
        additive_schema=(
            "insert into romancy_schema (version, step, at, name, additive) "
            "values (9998, 0, 0, '9998_future', 1), (9998, 1, 0, '', 0)"
        ),
    ),
}


def dialect_of(store: Store) -> Dialect:
    """Return the dialect of an open store's database; skip the test if the suite has none."""
    product = store.capabilities.name.split()[0]
    if product not in DIALECTS:
        pytest.skip(f"capability: the suite does not know the dialect of {product}")
    return DIALECTS[product]
