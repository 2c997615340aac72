"""PostgreSQL itself, and what has no extension that makes it another engine."""

from __future__ import annotations

from typing import Final

from romancy_postgres.engines.engine import Engine

__all__ = ["ENGINE"]

ENGINE: Final = Engine()
