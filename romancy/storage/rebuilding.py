"""The service for rebuilding: what a database holds beside its logs is read, and made again from them.

This is the rows of instances, their projections and indexes. Logs that were written elsewhere are brought in by the
same way: first the log, then what is made from it. The engine does not use this service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from romancy.status import TERMINAL_STATUSES
from romancy.storage.journal import KeptLine
from romancy.storage.lookups import Lying
from romancy.storage.query import index_text, member_at, members_of, project
from romancy.storage.records import InstanceRow, LogRow
from romancy.storage.routing import Interest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Brought",
    "Form",
    "Index",
    "Logs",
    "Rebuilding",
    "Rebuilt",
    "Stored",
    "agrees_with_itself",
    "form_of",
    "is_as",
]

Index = tuple[tuple[str, str | None], ...]
"""Each declared path with its encoded value, as in `Start.index`."""


class Form(NamedTuple):
    """The index of an instance as an adapter stores it: the text of the set, and its rows as path and value, sorted."""

    paths: str
    entries: tuple[tuple[str, str], ...]


class Stored(Struct, frozen=True, kw_only=True):
    """What the database holds of an instance that has a log."""

    instance_id: str
    life: int
    row: InstanceRow | None
    """None: the row is lost. The input is as it is stored."""
    projection: bytes | None = None
    paths: str = ""
    entries: tuple[tuple[str, str, int], ...] = ()
    """Its rows of the index: path, value and time."""
    recorded: bool = True
    """Whether searches know that its workflow uses this set of paths."""
    declared: tuple[tuple[str, str], ...] | None = ()
    """The paths of its set, each as the index stores it and as a key. None: the set is stored as a hash."""


class Brought(Struct, frozen=True, kw_only=True):
    """A part of what another database holds of an instance: its log, and what is kept beside it."""

    instance_id: str
    life: int
    log: tuple[LogRow, ...] = ()
    logged: tuple[KeptLine, ...] = ()
    """Log lines of its code."""
    streamed: tuple[KeptLine, ...] = ()
    """Lines of its streams, each with its number there."""


class Rebuilt(Struct, frozen=True, kw_only=True):
    """The present state of an instance, as its log and its workflow's declaration have it."""

    row: InstanceRow
    lost: bool = False
    """Insert the row, with the input as it is given here. Otherwise the row was read, and only the rest is written.

    It is due at its `wake_at`, at the earliest now.
    """
    projection: bytes | None
    index: Index
    interests: tuple[Interest, ...] = ()
    """Of a lost row: those of its open waits. A sweep removes the interests of instances without a row."""
    brought: Brought | None = None
    """Of a lost row: what is written with it of its log. What is there stays."""
    mail: tuple[Lying, ...] = ()
    """Of a lost row: what is put into its inbox with it, in this order."""
    rests: bool = False
    """Of a lost row: it is due only when something is delivered."""

    @property
    def ended(self) -> bool:
        """Whether nothing is due any more."""
        return self.row.status in TERMINAL_STATUSES


class Logs(Protocol):
    """Where logs are read."""

    async def log(self, instance_id: str, life: int, /, *, after: int, limit: int) -> list[LogRow]:
        """The next rows of a log, also of an instance without a row."""
        ...


class Rebuilding(Logs, Protocol):
    """No call concerns more instances than it is given or asked for."""

    async def stored(self, *, after: str, limit: int) -> list[Stored]:
        """The next instances that have a log, in the order of their ids, as of one moment.

        Of an id without a row, it is the life whose log was written last.
        """
        ...

    def form(self, index: Index, /) -> Form:
        """An index as this adapter stores it."""
        ...

    async def rebuild(self, instances: Sequence[Rebuilt], /) -> int:
        """Write these instances in one transaction, and return how many were written.

        An instance is left out if its row is of another life or run meanwhile, if a lost row has come back, or if its
        log has grown since or is gone. A row that is inserted is due, unless the instance has ended or rests. It counts
        the messages in its inbox as unread.
        """
        ...

    async def bring(self, parts: Sequence[Brought], /) -> None:
        """Write parts of logs and of what is kept beside them, in one transaction. What is there stays.

        It is no instance before `rebuild` has made its row. So the ids must be free, or have rows of these lives.
        """
        ...


def form_of(paths: str, entries: Iterable[tuple[str, str]]) -> Form:
    """A form with its rows in order."""
    return Form(paths, tuple(sorted(entries)))


def is_as(stored: Stored, projection: bytes | None, form: Form) -> bool:
    """Whether an instance's projection and index are these."""
    return (
        stored.row is not None
        and stored.recorded
        and stored.paths == form.paths
        and _same(stored.projection, projection)
        and _entries(stored) == form.entries
    )


def agrees_with_itself(stored: Stored) -> bool:
    """Whether an instance's index fits its projection, and whether it has one if its input has one.

    Needs no declaration. The rows of a set that is stored as a hash are not looked at.
    """
    if stored.row is None or not stored.recorded or (stored.projection is None and project(stored.row.input)):
        return False
    if stored.declared is None:
        return True
    members = {} if stored.projection is None else members_of(stored.projection)
    words = [(path, index_text(member_at(members, key))) for path, key in stored.declared]
    return _entries(stored) == tuple(sorted((path, word) for path, word in words if word is not None))


def _same(one: bytes | None, other: bytes | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or msgspec.json.decode(one) == msgspec.json.decode(other)


def _entries(stored: Stored) -> tuple[tuple[str, str], ...]:
    """The rows of the index. One with another time is not found in its place, and counts as none."""
    at = None if stored.row is None else stored.row.created_at
    return tuple(sorted((path, value) for path, value, created_at in stored.entries if created_at == at))
