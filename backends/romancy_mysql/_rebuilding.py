"""Reads and writes what a database holds beside its logs, as `romancy.storage.rebuilding` promises."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from romancy.storage.columns import GIVEN, given
from romancy.storage.query import path_key
from romancy.storage.rebuilding import Form, Stored, form_of, renewal
from romancy.storage.records import InstanceRow, LogRow
from romancy.storage.routing import Owner
from romancy_mysql._effects import INTEREST, index_path, index_set, interest_row, json_text
from romancy_mysql._rows import columns, instance_row
from romancy_mysql._sql import Statement, comma, row, rows_of, source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from romancy.storage.rebuilding import Index, Rebuilt
    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database
    from romancy_mysql._sql import Value

__all__ = ["MySQLRebuilding"]

_COLUMNS = len(InstanceRow.__struct_fields__)


class MySQLRebuilding:
    """As `Rebuilding` promises."""

    def __init__(self, database: Database, tell: Callable[[Iterable[str]], None]) -> None:
        self._database = database
        self._tell = tell

    async def stored(self, *, after: str, limit: int) -> list[Stored]:
        query = self._database.statement
        (found,) = await self._database.ask(query("some_lives", after=after, limit=limit))
        ids = [line[0] for line in found.rows]
        if not ids:
            return []
        wanted = comma(ids)
        _, _, rows, index, *lives = await self._database.ask(
            query("one_moment"),
            query("begin_moment"),
            query("some_rows", columns=columns(self._database), ids=wanted),
            query("some_index", ids=wanted),
            *(query("last_life", instance_id=one) for one in ids),
            query("end_moment"),
        )
        lines = {line[0]: line for line in rows.rows}
        entries: dict[bytes, list[tuple[str, str, int]]] = {}
        for instance_id, path, value, at in index.rows:
            entries.setdefault(instance_id, []).append((path.decode(), value.decode(), at))
        return [
            _stored(one, lines.get(one), answer.rows[0][0], entries.get(one, []))
            for one, answer in zip(ids, lives[: len(ids)], strict=True)
            if answer.rows
        ]

    async def log(self, instance_id: str, life: int, /, *, after: int, limit: int) -> list[LogRow]:
        (page,) = await self._database.ask(
            self._database.statement("log_of_life", instance_id=instance_id, life=life, after=after, limit=limit)
        )
        return [LogRow(seq, writer.decode(), body, at) for seq, writer, body, at in page.rows]

    def form(self, index: Index, /) -> Form:
        return form_of(index_set(index)[0], [(index_path(path), value) for path, value in index if value is not None])

    async def rebuild(self, instances: Sequence[Rebuilt], /) -> int:
        ordered = sorted(instances, key=lambda one: one.row.instance_id)
        written = await self._database.insist(partial(self._rebuild, ordered))
        self._tell({one.row.instance_id for one in ordered if one.lost and one.row.instance_id in written})
        return len(written)

    async def _rebuild(self, instances: Sequence[Rebuilt], wire: Wire) -> set[str]:
        database = self._database
        wire.tainted = True
        lost = [one for one in instances if one.lost]
        places = [(one.row.instance_id, one.row.life, one.row.run_from) for one in instances if not one.lost]
        holds = [database["hold_runs"].statement(source(("instance_id", "life", "run_from"), places))] if places else []
        restores = [database["restore_instance"].statement(_restored(one)) for one in lost]
        answers = (await database.send(wire, [database.begin, *holds, *restores]))[-len(holds) - len(restores) :]
        written = {line[0].decode() for answer in answers[: len(holds)] for line in answer.rows}
        written |= {
            one.row.instance_id for one, answer in zip(lost, answers[len(holds) :], strict=True) if answer.affected
        }
        kept = [one for one in instances if one.row.instance_id in written]
        await database.send(wire, [*self._renewals(kept), Statement("commit", database.end)])
        wire.tainted = False
        return written

    def _renewals(self, kept: Sequence[Rebuilt]) -> Iterator[Statement]:
        """What searches read of these instances, whose rows the transaction holds."""
        if not kept:
            return
        query = self._database.__getitem__
        sets = {(one.row.workflow_name, *index_set(one.index)) for one in kept}
        yield query("add_index_sets").statement(rows=comma(row(*each) for each in sorted(sets)))
        yield query("drop_index").statement(ids=comma(one.row.instance_id for one in kept))
        index = [
            (one.row.instance_id, index_path(path), value)
            for one in kept
            for path, value in one.index
            if value is not None
        ]
        searched = [(one.row.instance_id, json_text(one.projection), index_set(one.index)[0]) for one in kept]
        yield query("renew_projections").statement(source(("instance_id", "projection", "index_paths"), searched))
        if index:
            yield query("add_index").statement(source(("instance_id", "path", "value"), index))
        interests = [
            interest_row(Owner(item.instance_id, item.life), interest)
            for item in map(renewal, kept)
            for interest in item.interests
        ]
        if interests:
            yield query("add_interests").statement(rows=rows_of(INTEREST, interests))


def _stored(instance_id: bytes, line: tuple[Any, ...] | None, life: int, entries: list[tuple[str, str, int]]) -> Stored:
    if line is None:
        return Stored(instance_id=instance_id.decode(), life=life, row=None)
    projection, paths, known = line[_COLUMNS:]
    found = instance_row(line[:_COLUMNS])
    names: list[str] = [] if known is None else known.decode().split("\n")
    return Stored(
        instance_id=found.instance_id,
        life=found.life,
        row=found,
        projection=projection.encode() if isinstance(projection, str) else projection,
        paths=paths.decode(),
        entries=tuple(entries),
        recorded=known is not None,
        declared=tuple((index_path(path), path_key(path)) for path in names if path),
    )


def _restored(one: Rebuilt) -> dict[str, Value]:
    found = one.row
    return {
        "instance_id": found.instance_id,
        "life": found.life,
        "status": found.status,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
        "error": found.error,
        "parent": found.parent,
        "run_from": found.run_from,
        "last_seq": found.last_seq,
        "input": found.input,
        "ended": one.ended,
        **dict(zip(GIVEN, given(found), strict=True)),
    }
