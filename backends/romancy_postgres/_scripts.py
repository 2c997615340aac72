"""Runs the texts that all SQL databases share (`romancy.storage.sqlkit.scripts`) on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.sqlkit.scripts import Pieces, numbered, shared_scripts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from romancy.storage.sqlkit.scripts import Row, Value
    from romancy_postgres._database import Database

__all__ = ["PIECES", "Scripts", "numbered_texts"]

# Compared by `any`, a status stays in the order: the planner then cannot prefer to walk all instances by their age.
PIECES: Final = Pieces(only="= any (array[{}])", within="{},", among="= any ({}::text[])")
_SEARCHES: Final = frozenset({"open_work", "place_behind", "tally_slice"})
"""Scripts that may be slow, and are planned for their values."""


def numbered_texts(
    own: Mapping[str, str], prefix: str, schema: str | None
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """All texts by name, the shared ones with numbered parameters, and the names of these parameters.

    An own text under the name of a shared one takes its place, and its parameters.
    """
    texts, names = dict(own), dict[str, tuple[str, ...]]()
    for name, script in shared_scripts(PIECES, prefix, schema).items():
        texts[name], names[name] = numbered(own.get(name, script.text))
    return texts, names


class Scripts:
    """Each call is one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, script: str, values: Mapping[str, Value], /) -> Sequence[Row]:
        pool = self._database.search if script in _SEARCHES else None
        given = (_given(values[name]) for name in self._database.parameters[script])
        return await self._database.fetch(script, *given, pool=pool)

    async def run_each(
        self, script: str, name: str, each: Sequence[str], values: Mapping[str, Value], /
    ) -> Sequence[Row]:
        """The script has an own text, which takes all values of the parameter and answers in their order."""
        return await self.run(script, {**values, name: each})


def _given(value: Value) -> object:
    return value if value is None or isinstance(value, int | str) else list(value)
