"""Makes again what a database holds beside its logs: lost rows of instances, their projections and their index.

It may run beside workers and be ended at any time. It looks at one page of instances after another, and writes those of
a page that differ in one transaction. What a worker has changed in the meantime is left as the worker wrote it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec.structs import replace

from romancy.engine import (
    LostRow,
    interests_from_log,
    opened_input,
    opened_row_of_log,
    sealed_input,
    sealed_interests,
    searchable,
)
from romancy.errors import CodecError, HistoryCorruptError, HistoryVersionError, UsageError
from romancy.instance import headers_in
from romancy.registry import Registry
from romancy.storage.any_store import first_commits_of
from romancy.storage.query import project_with_index
from romancy.storage.rebuilding import Rebuilt, agrees_with_itself, is_as
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from romancy.serialization import Codecs
    from romancy.storage.protocol import Store
    from romancy.storage.rebuilding import Index, Logs, Rebuilding, Stored
    from romancy.storage.records import InstanceRow, LogRow
    from romancy.workflow import Workflow

__all__ = ["PARTS", "Findings", "Left", "Part", "Sample", "made_from_log", "rebuild", "sample_of"]

Part = Literal["rows", "index"]
PARTS: Final[tuple[Part, ...]] = ("rows", "index")
"""Lost rows of instances; projections and index."""

_PAGE: Final = 100
_PLACES: Final = (
    "",
    "0",
    "2",
    "4",
    "6",
    "8",
    "A",
    "C",
    "F",
    "K",
    "P",
    "U",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "k",
    "p",
    "u",
)
_UNREADABLE: Final = (HistoryCorruptError, HistoryVersionError, CodecError)


@dataclass(frozen=True, slots=True)
class Left:
    """An instance that was left as it is, and why."""

    instance_id: str
    reason: str


@dataclass(slots=True)
class Findings:
    """The result so far."""

    looked_at: int = 0
    rows: int = 0
    """Rows that were lost."""
    delayed: int = 0
    """Of these, instances that had not begun and begin now. Old logs do not have the time of a delayed start."""
    index: int = 0
    """Instances with another projection or index than they should have."""
    written: int = 0
    left: list[Left] = field(default_factory=list[Left])


@dataclass(frozen=True, slots=True)
class Sample:
    """The result of a look at some instances."""

    looked_at: int
    lost: int
    differing: int


async def rebuild(
    store: Store,
    workflows: Mapping[str, Workflow[..., Any]],
    codecs: Codecs,
    *,
    parts: Collection[Part] = PARTS,
    dry_run: bool = False,
    progress: Callable[[Findings], None] | None = None,
) -> Findings:
    """Look at every instance, and write what differs from its log and from what its workflow declares now.

    Instances of workflows that are not given, and those that cannot be read, are left as they are and reported. Raises
    UsageError if the store offers no rebuilding.
    """
    if Service.REBUILDING not in store.services.offered:
        raise UsageError(f"{store.capabilities.name}: there is nothing to rebuild, or its adapter cannot")
    rebuilding = store.services.rebuilding
    work = _Work(rebuilding, Registry.collect(workflows.values()), codecs, frozenset(parts))
    after = ""
    while page := await rebuilding.stored(after=after, limit=_PAGE):
        await work.look_for_headers(store, page)
        wrong = [one for stored in page if (one := await work.judged(stored)) is not None]
        if wrong and not dry_run:
            work.found.written += await _written(store, rebuilding, wrong)
        after = page[-1].instance_id
        if progress is not None:
            progress(work.found)
        await asyncio.sleep(0)
    return work.found


async def _written(store: Store, rebuilding: Rebuilding, wrong: list[Rebuilt]) -> int:
    written = await rebuilding.rebuild(wrong)
    addresses = sorted({interest.address for one in wrong for interest in one.interests})
    if addresses:
        await store.services.router.dispatch(addresses)
    return written


class _Work:
    """Compares instances with what they should be."""

    def __init__(self, rebuilding: Rebuilding, registry: Registry, codecs: Codecs, parts: frozenset[Part]) -> None:
        self.found = Findings()
        self._rebuilding = rebuilding
        self._registry = registry
        self._codecs = codecs
        self._parts = parts
        self._starts: dict[str, LogRow] = {}
        """The commits with which the runs of instances began, by instance id."""

    async def look_for_headers(self, store: Store, page: Sequence[Stored]) -> None:
        """Read the headers of all instances that have a row, at once."""
        if "index" in self._parts:
            self._starts = await first_commits_of(store, [one.row for one in page if one.row is not None])

    async def judged(self, stored: Stored) -> Rebuilt | None:
        """The instance as it should be. None: it is so, or it is left."""
        self.found.looked_at += 1
        try:
            return await self._lost(stored) if stored.row is None else self._differing(stored, stored.row)
        except _UNREADABLE as error:
            self._leave(stored.instance_id, str(error))
        return None

    async def _lost(self, stored: Stored) -> Rebuilt | None:
        if "rows" not in self._parts:
            return None
        lost = await LostRow.read(self._rebuilding, self._codecs, stored.instance_id, stored.life)
        row = lost.row()
        definition = self._definition(row)
        if definition is None:
            return None
        made = await made_from_log(self._rebuilding, self._codecs, self._registry, lost, definition)
        self.found.rows += 1
        self.found.delayed += row.status == "pending" and row.wake_at is None
        return made

    def _differing(self, stored: Stored, row: InstanceRow) -> Rebuilt | None:
        if "index" not in self._parts:
            return None
        definition = self._definition(row)
        if definition is None:
            return None
        start = self._starts.get(row.instance_id)
        if start is None:
            return None  # it was removed, or began a new run, in the meantime
        raw = opened_input(self._codecs, row)
        projection, index = _projected(self._codecs, row, raw, definition, start)
        if is_as(stored, projection, self._rebuilding.form(index)):
            return None
        self.found.index += 1
        return Rebuilt(row=row, projection=projection, index=index)

    def _definition(self, row: InstanceRow) -> Workflow[..., Any] | None:
        definition = self._registry.workflows.get(row.workflow_name)
        if definition is None:
            self._leave(row.instance_id, f"the app has no workflow {row.workflow_name!r}")
        return definition

    def _leave(self, instance_id: str, reason: str) -> None:
        self.found.left.append(Left(instance_id, reason))


async def made_from_log(
    logs: Logs, codecs: Codecs, registry: Registry, lost: LostRow, definition: Workflow[..., Any]
) -> Rebuilt:
    """All that a database holds of an instance beside its log, as the log and the workflow's declaration have it."""
    row = lost.row()
    interests = await interests_from_log(logs, codecs, registry, row)
    interests += () if lost.failure is None else (lost.failure,)
    start = await logs.log(row.instance_id, row.life, after=row.run_from - 1, limit=1)
    projection, index = _projected(codecs, row, row.input, definition, start[0])
    row = replace(row, input=sealed_input(codecs, row))
    interests = sealed_interests(codecs, row.instance_id, interests)
    return Rebuilt(row=row, lost=True, projection=projection, index=index, interests=interests)


def _projected(
    codecs: Codecs, row: InstanceRow, raw: bytes, definition: Workflow[..., Any], start: LogRow
) -> tuple[bytes | None, Index]:
    begun = opened_row_of_log(codecs, row.instance_id, row.life, start)
    headers = headers_in(begun.body, row.instance_id)
    projection, index = project_with_index(raw, definition.index, definition.signature.bare, headers)
    return searchable(codecs, projection, index), index


async def sample_of(store: Store, most: int = 300) -> Sample | None:
    """Look at some instances from all over the database. None: the store offers no rebuilding.

    It compares each index with its projection, which needs no declaration and no codec. A small database is looked at
    completely.
    """
    if Service.REBUILDING not in store.services.offered:
        return None
    rebuilding = store.services.rebuilding
    seen: dict[str, Stored] = {}
    each = max(most // len(_PLACES), 1)
    first = await rebuilding.stored(after="", limit=_PAGE)
    seen.update((one.instance_id, one) for one in first)
    if len(first) == _PAGE:
        for place in _PLACES[1:]:
            seen.update((one.instance_id, one) for one in await rebuilding.stored(after=place, limit=each))
    lost = sum(one.row is None for one in seen.values())
    differing = sum(one.row is not None and not agrees_with_itself(one) for one in seen.values())
    return Sample(len(seen), lost, differing)
