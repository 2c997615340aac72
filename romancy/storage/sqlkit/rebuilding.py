"""What an SQL database holds beside its logs, read and made again, with the scripts of the dialect.

A dialect says how it stores what searches read (`Spelling`), and answers `renew` by an operation of its own: the
columns of projections, indexes and interests are those that its appends write.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from romancy.storage.admission import head_start
from romancy.storage.columns import GIVEN, given
from romancy.storage.rebuilding import Form, Stored, form_of
from romancy.storage.records import InstanceRow, LogRow
from romancy.storage.sqlkit.journal import STREAMS
from romancy.storage.sqlkit.reading import instance_of
from romancy.storage.sqlkit.statements import Answer, Ask, ask, ask_all, ask_last, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from romancy.storage.rebuilding import Brought, Index, Rebuilt
    from romancy.storage.sqlkit.statements import Interpreter, Operation, Values

__all__ = ["Spelling", "SqlRebuilding", "lives_in_parts", "restore_in_parts"]

_COLUMNS: Final = len(InstanceRow.__struct_fields__)
_LOST: Final = (
    "instance_id", "life", "status", "created_at", "updated_at", "error", "parent", "run_from", "last_seq", "input",
    "ended", "due", "mail", *GIVEN,
)  # fmt: skip
_NO_ROW: Final = (None,) * (_COLUMNS + 3)
_NO_ENTRIES: Final = ((), (), ())
_PAGES_EACH: Final = 6
_ROWS_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 1024 * 1024
"""One statement writes so much, or a single row."""


def _unchanged(error: str | None) -> object:
    return error


class Spelling(NamedTuple):
    """How a dialect stores what searches read of an instance."""

    path: Callable[[str], str]
    """A declared path, as the index stores it."""
    set_of: Callable[[Index], tuple[str, str]]
    """The set of an index's paths: as the row of an instance stores it, and its members, one a line."""
    declared: Callable[[str], tuple[str, str] | None]
    """A member of a set: as the index stores it, and as a key. None: it is stored as a hash, and has no key."""
    error: Callable[[str | None], object] = _unchanged
    """The text of an error, as its column takes it."""
    row: Callable[[Sequence[Any]], InstanceRow] = instance_of
    """An instance from its columns."""


class SqlRebuilding:
    """As `Rebuilding` promises."""

    def __init__(self, interpreter: Interpreter, spelling: Spelling) -> None:
        self._interpreter = interpreter
        self._spelling = spelling

    async def stored(self, *, after: str, limit: int) -> list[Stored]:
        found = await self._interpreter.read(partial(ask, "lives_with_rows", after=after, limit=limit))
        return [_stored(row, self._spelling) for row in found.rows]

    async def log(self, instance_id: str, life: int, /, *, after: int, limit: int) -> list[LogRow]:
        about = {"instance_id": instance_id, "life": life, "after": after, "limit": limit}
        page = await self._interpreter.read(partial(ask, "log_of_life", **about))
        return [LogRow(*row) for row in page.rows]

    def form(self, index: Index, /) -> Form:
        return form_of(self._spelling.set_of(index)[0], _entries(index, self._spelling))

    async def rebuild(self, instances: Sequence[Rebuilt], /) -> int:
        ordered = sorted(instances, key=lambda one: one.row.instance_id)
        rebuild = partial(_rebuild, ordered, self._spelling)
        weight = _PAGES_EACH * len(ordered) + sum(map(_weight, (one.brought for one in ordered)))
        return await self._interpreter.together(rebuild, weight=weight)

    async def bring(self, parts: Sequence[Brought], /) -> None:
        bring = partial(_bring, sorted(parts, key=lambda one: (one.instance_id, one.life)))
        await self._interpreter.together(bring, weight=sum(map(_weight, parts)) or 1)


def _stored(line: Sequence[Any], spelling: Spelling) -> Stored:
    instance_id, row, (projection, index_paths, members, paths, words, times, lost_life) = (
        line[0], line[1 : _COLUMNS + 1], line[_COLUMNS + 1 :],
    )  # fmt: skip
    if row[0] is None:
        return Stored(instance_id=instance_id, life=lost_life, row=None)
    found = spelling.row(row)
    declared = [spelling.declared(member) for member in members or () if member]
    known = [one for one in declared if one is not None]
    return Stored(
        instance_id=instance_id,
        life=found.life,
        row=found,
        projection=projection.encode() if isinstance(projection, str) else projection,
        paths=index_paths,
        entries=tuple(zip(paths or (), words or (), times or (), strict=True)),
        recorded=members is not None,
        declared=tuple(known) if len(known) == len(declared) else None,
    )


def _rebuild(instances: Sequence[Rebuilt], spelling: Spelling) -> Operation[int]:
    runs = [(one.row.instance_id, one.row.life, one.row.run_from) for one in instances if not one.lost]
    lost = [_lost(one, spelling) for one in instances if one.lost]
    yield from _write_parts([one.brought for one in instances if one.brought is not None])
    holds = (Ask("hold_runs", {"runs": runs}),) if runs else ()
    restores = (Ask("restore_instances", {"lost": lost}),) if lost else ()
    answers = yield from ask_all(*holds, *restores)
    written = {row[0] for answer in answers for row in answer.rows}
    kept = [one for one in instances if one.row.instance_id in written]
    yield from _write("mail_add", [row for one in kept for row in _mail(one)])
    if kept:
        yield from tell(*(one.row.instance_id for one in kept if one.lost))
        yield from ask_last(Ask("renew", _renewal(kept, spelling)))
    return len(written)


def _lost(one: Rebuilt, spelling: Spelling) -> tuple[Any, ...]:
    row = one.row
    return (
        row.instance_id, row.life, row.status.value, row.created_at, row.updated_at, spelling.error(row.error),
        row.parent, row.run_from, row.last_seq, row.input, one.ended, -1 if one.rests else row.wake_at or 0,
        len(one.mail), *given(row),
    )  # fmt: skip


def _mail(one: Rebuilt) -> Iterator[tuple[Any, ...]]:
    for number, (instance_id, row, spread, projection) in enumerate(one.mail, 1):
        yield (
            instance_id, row.delivery_id, row.body, row.at, number, row.address, row.interest, spread, projection,
            row.posted_at,
        )  # fmt: skip


# ── what another database has held ───────────────────────────────────────────────────────────────────────────────────


def _bring(parts: Sequence[Brought]) -> Operation[None]:
    yield from _write_parts(parts)
    yield from ask_last()


def _write_parts(parts: Sequence[Brought]) -> Operation[None]:
    """Write logs before what is kept beside them, as all transactions do."""
    log = [(one.instance_id, one.life, row.seq, row.writer, row.body, row.at) for one in parts for row in one.log]
    lines = [
        (one.instance_id, one.life, start + line.number, line.mark, line.at, line.body)
        for one in parts
        for start, some in ((0, one.logged), (STREAMS, one.streamed))
        for line in some
    ]
    yield from _write("log_add", log)
    yield from _write("journal_add", lines)


def _write(script: str, rows: Sequence[tuple[Any, ...]]) -> Operation[None]:
    """Write rows of tables, a portion in each request."""
    some: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        more = sum(len(value) for value in row if isinstance(value, bytes))
        if some and (len(some) == _ROWS_AT_ONCE or size + more > _BYTES_AT_ONCE):
            yield from ask_all(Ask(script, {"lines": some}))
            some, size = [], 0
        some.append(row)
        size += more
    if some:
        yield from ask_all(Ask(script, {"lines": some}))


def _weight(brought: Brought | None) -> int:
    return 0 if brought is None else len(brought.log) + len(brought.logged) + len(brought.streamed)


def _renewal(kept: Sequence[Rebuilt], spelling: Spelling) -> Values:
    """What searches read of these instances, and the interests of those that were lost."""
    return {
        "runs": [
            (
                one.row.instance_id, one.row.workflow_name, one.row.run_from,
                None if one.projection is None else one.projection.decode("ascii"), *spelling.set_of(one.index),
            )
            for one in kept
        ],
        "index": [(one.row.instance_id, *entry) for one in kept for entry in _entries(one.index, spelling)],
        "interests": sorted(
            (
                one.row.instance_id, one.row.life, each.interest_id, each.address, each.kind.value, each.where,
                head_start(each),
            )
            for one in kept
            for each in one.interests
        ),
    }  # fmt: skip


def _entries(index: Index, spelling: Spelling) -> Iterable[tuple[str, str]]:
    return ((spelling.path(path), value) for path, value in index if value is not None)


# ── where no statement of a dialect returns lists, or the rows that it writes ────────────────────────────────────────


def lives_in_parts(
    values: Values, last: Callable[[list[str]], list[Ask]], begin: Sequence[Ask] = (), end: Sequence[Ask] = ()
) -> Operation[Answer]:
    """`lives_with_rows` in several scripts, all but the first between those that begin and end a snapshot.

    `last` asks for the lives whose logs were written last.
    """
    ids = [row[0] for row in (yield from ask("some_lives", **values)).rows]
    if not ids:
        return Answer((), 0)
    some = Ask("some_rows", {"ids": ids}), Ask("some_index", {"ids": ids})
    lives = last(ids)
    answers = (yield from ask_all(*begin, *some, *lives, *end))[len(begin) :]
    rows = {row[0]: (*row[:-1], None if row[-1] is None else row[-1].split("\n")) for row in answers[0].rows}
    entries: dict[str, list[Sequence[Any]]] = {}
    for owner, *entry in answers[1].rows:
        entries.setdefault(owner, []).append(entry)
    written = {one: life for answer in answers[2 : len(lives) + 2] for life, one in answer.rows if life is not None}
    found = [
        (one, *rows.get(one, _NO_ROW), *(zip(*entries[one], strict=True) if one in entries else _NO_ENTRIES), life)
        for one in ids
        if (life := written.get(one)) is not None  # else its log is gone since
    ]
    return Answer(found, len(found))


def restore_in_parts(values: Values) -> Operation[Answer]:
    """`restore_instances`, one by one."""
    lost = [dict(zip(_LOST, row, strict=True)) for row in values["lost"]]
    answers = yield from ask_all(*(Ask("restore_instance", one) for one in lost))
    back = [(one["instance_id"],) for one, answer in zip(lost, answers, strict=True) if answer.touched]
    return Answer(back, len(back))
