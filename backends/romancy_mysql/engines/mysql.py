"""MySQL itself, and what announces no word of another engine."""

from __future__ import annotations

from typing import Final

from romancy_mysql.engines.engine import Engine, KnownBy

__all__ = ["BY_KEYS", "ENGINE"]

BY_KEYS: Final = ", eq_range_index_dive_limit = 0"
"""A statement that names many keys looks each of them up in the index to find out what it costs. Otherwise MySQL and
MariaDB go by old statistics from 200 keys on, and may read a whole table, and wait for whoever holds any row of it.
"""

_SORT_BUFFER: Final = 32 * 1024 * 1024
"""MySQL sorts whole rows with their JSON, and fails if a row does not fit the buffer. It allocates it as needed."""

ENGINE: Final = Engine(
    product="MySQL",
    known_by=KnownBy(oldest=(8, 0, 13)),  # defaults that are expressions
    migrations="mysql",
    # Its estimates of the sizes of tables may be a day old unless they are asked for anew.
    session=f", sort_buffer_size = {_SORT_BUFFER}, information_schema_stats_expiry = 0{BY_KEYS}",
    transactions="sets",
    tells_age=True,
)
