"""Parts of searches that all SQL databases share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.query import Equals, In, index_predicate

if TYPE_CHECKING:
    from romancy.storage.query import Query

__all__ = ["indexed_values"]


def indexed_values(query: Query) -> tuple[str, list[str]] | None:
    """The key of the first condition that an index of values answers, and the values to look up."""
    for condition in query.conditions:
        match index_predicate(condition.predicate):
            case Equals(word):
                return condition.key, [word]
            case In(words, or_missing=False):
                return condition.key, list(dict.fromkeys(words))
            case _:
                continue
    return None
