"""The sweep: every instance of a database, and rows that belong to none. It checks each suspected violation twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from romancy.errors import CodecError
from romancy.serialization import NO_CODECS
from romancy.storage.backends import create_store
from romancy_conformance.invariants._instance import Code, of_children, of_replay, of_row
from romancy_conformance.invariants._log import told
from romancy_conformance.invariants._places import of_places
from romancy_conformance.invariants._tables import Tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping

    from romancy.core import WorkflowDefinition
    from romancy.serialization import Codecs
    from romancy.storage.protocol import Store

    Again = Callable[[], Awaitable[object]]

__all__ = ["Complaint", "sweep", "sweep_url"]


class Complaint(NamedTuple):
    """One violation."""

    instance_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.instance_id}: {self.what}"


async def sweep_url(
    url: str,
    workflows: Mapping[str, WorkflowDefinition] | None = None,
    *,
    codecs: Codecs = NO_CODECS,
    again: Again | None = None,
) -> list[Complaint]:
    """As `sweep`, on a database that it opens, with the schema it has."""
    store = create_store(url)
    await store.open(migrate=False)
    try:
        return await sweep(store, workflows, codecs=codecs, again=again)
    finally:
        await store.close()


async def sweep(
    store: Store,
    workflows: Mapping[str, WorkflowDefinition] | None = None,
    *,
    codecs: Codecs = NO_CODECS,
    again: Again | None = None,
    at_most: int | None = None,
) -> list[Complaint]:
    """Return all violations in the database, by instance; the logs of the given workflows are replayed.

    While workers are at work, the first of two reads may be outdated by the second. The sweep then awaits `again`, and
    reports a violation only if it is still there. With `at_most`, it checks only so many of the newest instances, and
    all rows that belong to none.
    """
    tables, code = Tables(store, codecs), Code(workflows or {})
    ids = [row.instance_id async for row in tables.rows()][:at_most]
    found = await _complaints(tables, code, ids)
    if found and again is not None:
        await again()
        still = set(await _complaints(tables, code, sorted({one.instance_id for one in found})))
        found = [one for one in found if one in still]
    return found


async def _complaints(tables: Tables, code: Code, ids: Collection[str]) -> list[Complaint]:
    found = [Complaint(*stray) for stray in await tables.strays()]
    for instance_id in ids:
        found += [Complaint(instance_id, what) async for what in _of_instance(tables, instance_id, code)]
    return sorted(found)


async def _of_instance(tables: Tables, instance_id: str, code: Code) -> AsyncIterator[str]:
    try:
        read = await tables.log(instance_id)
    except CodecError as error:
        yield f"its log cannot be read, name the app whose codecs read it: {error}"
        return
    if read is None:
        return  # purged meanwhile
    row, rows = read
    log = told(row, rows)
    for what in (*log.wrong, *of_row(row, log), *of_replay(row, log, code)):
        yield what
    async for what in of_children(row, log, tables):
        yield what
    async for what in of_places(row, log, tables):
        yield what
