"""Conditions on the data of messages: encoded, and refused where codecs hide the data from the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from romancy.core import NULL
from romancy.errors import UsageError
from romancy.storage.query import encode_where

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy.core import Commands
    from romancy.storage.query import FilterValue

__all__ = ["stored_here", "where_of"]


def where_of(where: Mapping[str, FilterValue] | None, hidden: Callable[[], bool]) -> bytes | None:
    """The stored conditions. Raises UsageError if the data that they are about is `hidden` from the database."""
    if where is not None and hidden():
        raise hidden_data()
    return encode_where(where)


def stored_here(conditions: bytes | None, commands: Commands) -> Raw:
    """The conditions as a wait of a workflow stores them. Raises UsageError as `where_of` does.

    Call it when nothing else stands between the body and its wait: a replay looks for them in this very step.
    """
    if conditions is None:
        return NULL
    if not commands.can_ask_for(conditions):
        raise hidden_data()
    return Raw(conditions)


def hidden_data() -> UsageError:
    """The error for conditions on data that the database cannot read."""
    return UsageError(
        "where= needs data that the database can read, and a codec of this app hides it: leave where= out, and "
        "choose by the key= of the event, or give the codec `hides = False` if everybody may read what it writes"
    )
