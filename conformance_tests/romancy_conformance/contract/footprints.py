"""What a call leaves in the tables: the keys of the rows that it added, changed and removed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["Rows", "footprint", "rows_of"]

_KEYS: Final = {
    "instances": ("instance_id",),
    "log": ("instance_id", "seq"),
    "inbox": ("instance_id", "delivery_id"),
    "seen": ("unit", "life", "dedupe"),
    "index": ("instance_id", "value"),
    "messages": ("message_id", "address"),
    "interests": ("owner", "life", "interest_id"),
    "letters": ("subscriber", "message_id"),
    "outbox": ("outbox_id",),
    "journal": ("instance_id", "number"),
}
"""What tells the rows of a table apart in a test."""

Rows = dict[str, dict[str, Any]]


_COPY: Final = re.compile(r"\d{19}-[0-9a-f]{16}")
"""The id of a copy."""


def _text(value: Any) -> str:
    return _COPY.sub("copy", value.decode() if isinstance(value, bytes) else str(value))


async def rows_of(store: Store) -> Rows:
    """All rows but those of workers, by the table and their keys. Skip the test on a database without SQL."""
    if not store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    found: Rows = {}
    async with store.services.sessions.begin() as session:
        for table, keys in _KEYS.items():
            for row in await session.fetch_all(f"select * from romancy_{table}"):  # noqa: S608 - a name of ours
                found[" ".join((table, *(_text(row[key]) for key in keys)))] = row
    return found


def footprint(before: Rows, after: Rows) -> set[str]:
    """The rows that differ: `+` those that are new, `-` those that are gone, `~` those that have changed."""
    return {
        *(f"+ {key}" for key in after.keys() - before.keys()),
        *(f"- {key}" for key in before.keys() - after.keys()),
        *(f"~ {key}" for key in before.keys() & after.keys() if before[key] != after[key]),
    }
