"""MySQL itself, and what announces no word of another engine."""

from __future__ import annotations

from typing import Final

from romancy_mysql.engines.engine import Engine, KnownBy

__all__ = ["ENGINE"]

_SORT_BUFFER: Final = 32 * 1024 * 1024
"""MySQL sorts whole rows with their JSON, and fails if a row does not fit the buffer. It allocates it as needed."""

ENGINE: Final = Engine(
    product="MySQL",
    known_by=KnownBy(oldest=(8, 0, 13)),  # defaults that are expressions
    migrations="mysql",
    # Its estimates of the sizes of tables may be a day old unless they are asked for anew.
    session=f", sort_buffer_size = {_SORT_BUFFER}, information_schema_stats_expiry = 0",
    transactions="sets",
    tells_age=True,
)
