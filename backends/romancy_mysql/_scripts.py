"""Runs the texts that all SQL databases share (`romancy.storage.sqlkit.scripts`) on a server."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from romancy.storage.sqlkit.scripts import Pieces, shared_scripts
from romancy_mysql._sql import comma

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from romancy.storage.sqlkit.scripts import Row
    from romancy.storage.sqlkit.scripts import Value as Given
    from romancy_mysql._database import Database
    from romancy_mysql._sql import Statement, Value

__all__ = ["PIECES", "Scripts"]

PIECES: Final = Pieces(
    by_age="force index (by_age)", by_status="force index (by_status)", by_owner="force index (owned)"
)


class Scripts:
    """Each call is one round trip."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readers = _readers(database.settings.prefix)

    async def run(self, script: str, values: Mapping[str, Given], /) -> Sequence[Row]:
        (answer,) = await self._database.ask(self._statement(script, values))
        return [self._read(script, row) for row in answer.rows]

    async def run_each(
        self, script: str, name: str, each: Sequence[str], values: Mapping[str, Given], /
    ) -> Sequence[Row]:
        answers = await self._database.ask(*(self._statement(script, {**values, name: one}) for one in each))
        return [self._read(script, answer.rows[0]) for answer in answers]

    def _statement(self, script: str, values: Mapping[str, Given]) -> Statement:
        return self._database[script].statement({name: _given(value) for name, value in values.items()})

    def _read(self, script: str, row: Sequence[Any]) -> Row:
        return [read(value) for read, value in zip(self._readers[script], row, strict=True)]


def _given(value: Given) -> Value:
    return value if value is None or isinstance(value, int | str) else comma(value)


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


def _int(value: Any) -> int | None:
    return None if value is None else int(value)


def _as_it_is(value: Any) -> Any:
    return value


@cache
def _readers(prefix: str) -> Mapping[str, Sequence[Callable[[Any], Any]]]:
    """What reads each column of each script."""
    shared = shared_scripts(PIECES, prefix)
    return {name: tuple(_READ[kind] for kind in script.kinds) for name, script in shared.items()}


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {"text": _text, "int": _int, "bytes": _as_it_is}
