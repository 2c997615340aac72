"""Brings instances of a file into a database: their logs, and what is made from these.

The row of an instance is written last, and with it what makes its log whole. Until then nobody sees the instance, and
`rebuild` does not take it for one: of a log that does not fit one transaction, the commit before the last is written
with the row. So a crash leaves whole instances and parts that are not yet instances, and the same call goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from romancy.engine import LostRow, beneath_codecs, codecs_of
from romancy.errors import InstanceConflictError, StorageUnavailableError, UsageError
from romancy.moving.resting import Living, several
from romancy.rebuilding import made_from_log
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.any_store import last_commits_of
from romancy.storage.query import MAX_LIMIT, build_query
from romancy.storage.rebuilding import Brought
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from romancy.moving.reading import Parcel
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.storage.rebuilding import Rebuilt
    from romancy.storage.records import InstanceRow, LogRow
    from romancy.workflow import Workflow

__all__ = ["Imported", "bring_in"]

_TOGETHER: Final = 100
_ROOM: Final = 1024 * 1024
"""Bytes of logs in one transaction, unless a line has more."""
_TRIES: Final = 3
_RESTING: Final = (Status.PENDING, Status.WAITING)
"""Without a due time, one with such a status waits for what is delivered."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has brought, or would bring."""

    instances: int
    open: int
    """How many of them have not ended."""
    skipped: int
    """Those that were there already with the same log, or have gone on since."""


async def bring_in(
    store: Store,
    registry: Registry,
    read: Callable[[], Iterable[Parcel]],
    *,
    dry_run: bool = False,
    ended_now: bool = False,
) -> Imported:
    """Bring these instances into the database. `read` reads them, and is called twice: first, all are looked at.

    Raises InstanceConflictError if an id has another instance, and UsageError if the app does not know a workflow, or
    one would not rest: nothing was written then. `ended_now`: the time of what has ended counts from now.
    """
    if Service.REBUILDING not in store.services.offered:
        raise UsageError(f"{store.capabilities.name}: its adapter cannot bring in instances (`Service.REBUILDING`)")
    importing = _Importing(store, registry, ended_now=ended_now)
    await importing.survey(read())
    found = importing.found()
    if dry_run:
        return found
    importing = _Importing(store, registry, ended_now=ended_now)
    await importing.write(read())
    return importing.found()


class _Importing:
    def __init__(self, store: Store, registry: Registry, *, ended_now: bool) -> None:
        self._store = beneath_codecs(store)
        self._router = store.services.router if Service.ROUTER in store.services.offered else None
        self._codecs = codecs_of(store)
        self._registry = registry
        self._ended_now = ended_now
        self._now = 0
        self._new = self._open = self._skipped = 0

    def found(self) -> Imported:
        return Imported(self._new, self._open, self._skipped)

    # ── before anything is written ──────────────────────────────────────────────────────────────────────────────

    async def survey(self, parcels: Iterable[Parcel]) -> None:
        """Look at all of them. Their logs are made to rows, so that one that cannot be read is known."""
        living = await Living.of(self._store)
        taken: list[tuple[str, str]] = []
        refused: list[str] = []
        for some in _in_groups(parcels):
            new, conflicts = await self._judged(some)
            taken += conflicts
            for one in new:
                if (why := self._in_the_way(one, living)) is not None:
                    refused.append(f"instance {one.head.instance_id!r}: {why}")
                elif not taken and not refused:
                    await self._made(one)
                self._count(one)
        if taken:
            raise InstanceConflictError(
                f"nothing was written: {several([told for _, told in taken])}; remove them (`romancy purge`) or leave "
                "them out of the export",
                conflicts=[name for name, _ in taken],
            )
        if refused:
            raise UsageError(f"nothing was written: {several(refused)}")

    def _in_the_way(self, one: Parcel, living: Living) -> str | None:
        name = one.head.workflow
        if name not in self._registry.workflows:
            return f"this app has no workflow {name!r}; import with the app that has it"
        if (why := living.in_the_way(name, one.head.status)) is not None:
            return f"{why} before all are there; stop the workers first"
        return None

    async def _judged(self, some: list[Parcel]) -> tuple[list[Parcel], list[tuple[str, str]]]:
        """Those that are not there, and the ids under which something else is. The others are counted."""
        found = await self._store.services.reading.find(
            build_query(ids=[one.head.instance_id for one in some], limit=MAX_LIMIT)
        )
        rows = {row.instance_id: row for row in found.rows}
        there = [
            replace(row, last_seq=one.last[0])
            for one in some
            if (row := rows.get(one.head.instance_id)) is not None and row.life == one.head.life
        ]
        ends = await last_commits_of(self._store, there)
        new: list[Parcel] = []
        conflicts: list[tuple[str, str]] = []
        for one in some:
            row = rows.get(one.head.instance_id)
            if row is None:
                new.append(one)
            elif (why := _conflict(one, row, ends.get(row.instance_id))) is not None:
                conflicts.append((row.instance_id, f"instance {row.instance_id!r} {why}"))
            else:
                self._skipped += 1
        return new, conflicts

    async def _made(self, one: Parcel) -> Rebuilt:
        """The instance as the database has to hold it, without its log and its mail."""
        head = one.head
        lost = await LostRow.read(one, self._codecs, head.instance_id, head.life)
        definition: Workflow[..., Any] = self._registry.workflows[head.workflow]
        made = await made_from_log(one, self._codecs, self._registry, lost, definition)
        return replace(made, row=self._row(head, made.row))

    def _row(self, head: Any, row: InstanceRow) -> InstanceRow:
        """What the file says where the log is silent. A stuck instance is tried again."""
        status = Status(head.status)
        ended = status in TERMINAL_STATUSES
        return replace(
            row,
            status=row.status if status is Status.STUCK else status,
            created_at=head.created_at,
            updated_at=self._now if ended and self._ended_now else head.updated_at,
            error=None if status is Status.STUCK else head.error,
            input=head.input,
            wake_at=head.wake_at,
            fair_line=head.fair_line,
        )

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def write(self, parcels: Iterable[Parcel]) -> None:
        """Bring in all that are not there."""
        self._now = (await self._store.services.reading.census()).now
        for some in _in_groups(parcels):
            await self._write(some)

    async def _write(self, some: list[Parcel]) -> None:
        for _ in range(_TRIES):
            before = self._skipped
            new, conflicts = await self._judged(some)
            if conflicts:
                raise InstanceConflictError(
                    f"{several([told for _, told in conflicts])}: it began meanwhile; {self._new} instances were "
                    "brought in",
                    conflicts=[name for name, _ in conflicts],
                )
            made = [await self._with_log(one) for one in new]
            if not made or await self._store.services.rebuilding.rebuild(made) == len(made):
                for one in new:
                    self._count(one)
                await self._dispatch(made)
                return
            self._skipped = before  # others have brought in some
        raise StorageUnavailableError(
            f"instance {some[0].head.instance_id!r} could not be brought in: its log is not as the file has it; "
            "`romancy doctor` looks at what is there"
        )

    async def _with_log(self, one: Parcel) -> Rebuilt:
        """The instance with what its last transaction writes. The rest of a long log is written now."""
        made, mail = await self._made(one), one.mail()
        row = made.row if not mail else replace(made.row, wake_at=None)
        rests = row.status is Status.PAUSED or (row.status in _RESTING and row.wake_at is None and not mail)
        made = replace(made, row=row, mail=mail, rests=rests)
        if not one.places:
            return replace(made, brought=next(one.brought()))
        kept: list[LogRow] = []
        last = one.last[0]
        (end,) = await one.log(one.head.instance_id, one.head.life, after=last - 1, limit=1)
        ahead = [end] if one.head.log[0].seq < last else []
        for part in one.brought():
            kept += [row for row in part.log if row.seq == last - 1]
            log = [row for row in part.log if row.seq < last - 1] + ahead
            await self._store.services.rebuilding.bring([replace(part, log=tuple(log))])
            ahead = []
        return replace(made, brought=Brought(instance_id=one.head.instance_id, life=one.head.life, log=(*kept, end)))

    async def _dispatch(self, made: list[Rebuilt]) -> None:
        addresses = sorted({interest.address for one in made for interest in one.interests})
        if addresses and self._router is not None:
            await self._router.dispatch(addresses)

    def _count(self, one: Parcel) -> None:
        self._new += 1
        self._open += Status(one.head.status) not in TERMINAL_STATUSES


def _in_groups(parcels: Iterable[Parcel]) -> Iterator[list[Parcel]]:
    """So many at a time, and with about so many bytes. One of several lines is alone."""
    some: list[Parcel] = []
    size = 0
    for one in parcels:
        more = sum(len(commit.body) for commit in one.head.log)
        if some and (one.places or len(some) == _TOGETHER or size + more > _ROOM):
            yield some
            some, size = [], 0
        some.append(one)
        size += more
        if one.places:
            yield some
            some, size = [], 0
    if some:
        yield some


def _conflict(one: Parcel, row: InstanceRow, end: LogRow | None) -> str | None:
    """Why what is there is not this instance. None: it is, or has gone on since."""
    last, writer = one.last
    if row.life != one.head.life:
        return "is there already, and is another one"
    if end is not None and end.writer == writer:
        return None
    if end is None and row.run_from > last:
        return None  # it has begun later runs, and what is before them was removed
    return f"is there already with another log than in the file (up to commit {last})"
