"""A connection that knows PostgreSQL's own array types from earlier connections of this process.

The driver knows few array types from the start. It asks each connection for the others, when a statement first takes
one, with a query that costs more than all else that a new connection does before its first append.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["ArrayTypesConnection"]

_FIRST_OF_A_DATABASE: Final = 10_000
"""PostgreSQL gives its own types lower numbers, which are the same in every database."""
_NOT_ASKED: Final = SimpleNamespace(name="not asked")
"""Stands for the driver's query. A query without a name would have replaced the caller's, which then is sent again."""

_known: dict[tuple[int, frozenset[int]], Any] = {}
"""The driver's answers, by the server's version and the numbers of the types."""


class ArrayTypesConnection(asyncpg.Connection):
    """A connection of the driver without its query for types that are known."""

    async def _introspect_types(self, typeoids: Collection[int], *rest: Any) -> tuple[Any, Any]:
        """Override a method of the driver that is not public: if it is called no more, each connection asks again."""
        wanted = self.get_server_version().major, frozenset(typeoids)
        if wanted in _known:
            return _known[wanted], _NOT_ASKED
        driver = cast("Any", super())
        types, query = await driver._introspect_types(typeoids, *rest)  # noqa: SLF001 - the one that this overrides
        if max(typeoids) < _FIRST_OF_A_DATABASE:
            _known[wanted] = types
        return types, query
