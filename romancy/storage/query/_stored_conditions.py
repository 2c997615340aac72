"""Conditions that are stored with an interest, and applied to the projections of messages.

They are stored compiled, so that a reader compares words and needs no filters.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from romancy.errors import InternalError
from romancy.storage.query._conditions import Condition, compile_filters
from romancy.storage.query._evaluate import satisfies
from romancy.storage.query._projection import members_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.storage.query._filters import FilterValue

__all__ = ["Searched", "encode_where"]


class _Where(Struct, frozen=True):
    all: tuple[Condition, ...]


def encode_where(filters: Mapping[str, FilterValue] | None) -> bytes | None:
    """The filters as `Interest.where` stores them. None: no filters, so every message fits.

    `QueryError` as for `compile_filters`.
    """
    if filters is None:
        return None
    conditions = compile_filters(filters)
    return msgspec.json.encode(_Where(conditions)) if conditions else None


class Searched:
    """A projection to which many conditions are applied. It is decoded once, and only when needed."""

    __slots__ = ("_members", "_projection")

    def __init__(self, projection: bytes | None) -> None:
        self._projection = projection
        self._members: dict[str, str] | None = None

    def fits(self, where: bytes | None) -> bool:
        """Whether all conditions hold. A document without a projection fits only where there are no conditions."""
        if where is None:
            return True
        if self._projection is None:
            return False
        if self._members is None:
            try:
                self._members = members_of(self._projection)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._projection = None  # damaged in the database
                return False
        members = self._members
        return all(satisfies(members.get(one.key), one.predicate) for one in _decoded(where))


@lru_cache(maxsize=1024)
def _decoded(where: bytes) -> tuple[Condition, ...]:
    try:
        return msgspec.json.decode(where, type=_Where).all
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InternalError(
            f"the conditions of an interest cannot be read: {error}; a newer version of Romancy wrote them, which has "
            "to dispatch what they are for"
        ) from error
