"""What an operator asks of a database: what a migration would do, and which settings cost durability or speed.

An adapter offers it as `upkeep` of its store, or leaves it out: the engine never asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["Plan", "Setting", "Upkeep", "Verdict", "upkeep_of"]

Verdict: TypeAlias = Literal["ok", "note", "problem"]


class Plan(Struct, frozen=True, kw_only=True):
    """What `open` would do to the schema."""

    steps: tuple[str, ...]
    """The names of the migrations, or of their parts, that are missing; empty: the schema is up to date."""
    sql: str
    """A script that does the same, its records included; empty if there is nothing to do."""


class Setting(Struct, frozen=True, kw_only=True):
    """A setting of the database, as it stands for this store."""

    name: str
    value: str
    verdict: Verdict = "ok"
    advice: str = ""
    """What it costs and what to do about it."""


class Upkeep(Protocol):
    """Both calls write nothing."""

    async def plan(self) -> Plan:
        """What is missing. Needs no open store. `SchemaVersionError` if the schema is newer than this code."""
        ...

    async def settings(self) -> list[Setting]:
        """What was found that concerns durability or speed, good or bad, of an open store."""
        ...


def upkeep_of(store: Store) -> Upkeep | None:
    """The adapter's side of it; None: it has none."""
    upkeep: Upkeep | None = getattr(store, "upkeep", None)
    return upkeep
