"""The service for upkeep: removing what is over, what a migration would do, settings that cost durability or speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from romancy.storage.records import PruneRequest

__all__ = ["NO_TABLES", "Plan", "Setting", "Upkeep", "Verdict"]

NO_TABLES: Final = "it has no tables of Romancy yet"
"""What an adapter says of a database that no app has opened, and where the tables were not made by hand."""

Verdict: TypeAlias = Literal["ok", "note", "problem"]


class Plan(Struct, frozen=True, kw_only=True):
    """The changes that `open` would make to the schema."""

    steps: tuple[str, ...]
    """The names of the missing migrations, or of their parts. Empty: the schema is up to date."""
    sql: str
    """A script that does the same, its records included. Empty if there is nothing to do."""
    additive: tuple[str, ...] = ()
    """Those of `steps` that older code may continue on. What an adapter does not name here stops older code."""
    fresh: bool = False
    """The database has no tables yet, so no older code works on it."""
    unknown: tuple[str, ...] = ()
    """Migrations that only the database knows: newer code made them, and this code may continue on them."""

    @property
    def stopping(self) -> tuple[str, ...]:
        """Those of `steps` that older code may not continue on."""
        return () if self.fresh else tuple(step for step in self.steps if step not in self.additive)


class Setting(Struct, frozen=True, kw_only=True):
    """A setting of the database, as it is for this store."""

    name: str
    value: str
    verdict: Verdict = "ok"
    advice: str = ""
    """What the value costs, and what to do about it."""

    @classmethod
    def judged(cls, name: str, value: str, *, good: bool, advice: str, otherwise: Verdict = "note") -> Setting:
        """The setting: "ok" if its value is good, otherwise with this verdict and advice."""
        return cls(name=name, value=value) if good else cls(name=name, value=value, verdict=otherwise, advice=advice)


class Upkeep(Protocol):
    """Removes what is over, and answers an operator's questions."""

    async def prune(self, request: PruneRequest, /) -> int:
        """Remove up to `limit` ended instances, each with all data under its id in one transaction; return how many.

        Instances whose rows others have locked are left for the next call.
        Also removes rows of finished runs (those of at least `limit` instances) and what these have written to streams
        an hour or more before the present run, except for the last line of all; dead workers that own nothing, and, in
        transactions of at most some thousand, old dedupe keys. Which of too many go first is open. A dead worker's row
        may stay until no claim of its can still commit.
        """
        ...

    async def plan(self) -> Plan:
        """The missing migrations. Writes nothing, and needs no open store.

        `SchemaVersionError` if this code may not use the schema.
        """
        ...

    async def settings(self) -> list[Setting]:
        """The settings of an open store that concern durability or speed, good or bad."""
        ...
