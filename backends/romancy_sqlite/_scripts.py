"""Runs the texts that all SQL databases share (`romancy.storage.sqlkit.scripts`) on a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from romancy.storage.sqlkit.scripts import Pieces, shared_scripts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from romancy.storage.sqlkit.scripts import Row, Value
    from romancy_sqlite._store import SqliteStore

__all__ = ["PIECES", "Scripts", "shared_texts"]

PIECES: Final = Pieces(
    by_age="indexed by romancy_instances_newest",
    by_status="indexed by romancy_instances_status",
    by_owner="indexed by romancy_instances_owner",
    among="in (select value from json_each({}))",
)


def shared_texts(prefix: str) -> dict[str, str]:
    """The shared texts by name. SQLite knows parameters by their names."""
    return {name: script.text for name, script in shared_scripts(PIECES, prefix).items()}


class Scripts:
    """Each call is one read."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def run(self, script: str, values: Mapping[str, Value], /) -> Sequence[Row]:
        given = {name: _given(value) for name, value in values.items()}
        return await self._store.run_read(lambda tx: tx.rows(script, given))

    async def run_each(
        self, script: str, name: str, each: Sequence[str], values: Mapping[str, Value], /
    ) -> Sequence[Row]:
        given = [{**values, name: one} for one in each]
        return await self._store.run_read(lambda tx: [tx.rows(script, one)[0] for one in given])


def _given(value: Value) -> Any:
    return value if value is None or isinstance(value, int | str) else msgspec.json.encode(value).decode()
