"""MariaDB. A node of a cluster of it is in `galera.py`."""

from __future__ import annotations

from typing import Final

from romancy_mysql.engines.engine import Engine, KnownBy
from romancy_mysql.engines.mysql import BY_KEYS

__all__ = ["ENGINE"]

ENGINE: Final = Engine(
    product="MariaDB",
    known_by=KnownBy(announced="mariadb", oldest=(10, 6, 0)),  # SKIP LOCKED and JSON_TABLE
    migrations="mariadb",
    session=BY_KEYS,
    transactions="last of each domain",
)
