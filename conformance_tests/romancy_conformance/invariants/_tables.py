"""The tables behind a store, read through the protocol, and by SQL what that hides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.engine import coded
from romancy.serialization import NO_CODECS
from romancy.storage.query import MAX_LIMIT, build_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.serialization import Codecs
    from romancy.storage.protocol import Store
    from romancy.storage.records import History, InstanceRow, LogRow
    from romancy.storage.routing import Interest, Owner

__all__ = ["Tables"]

_STRAY: Final = (
    ("inbox", "there is a message for it in the inbox, and no such instance"),
    ("log", "there is a log of it, and no such instance"),
    ("index", "the index leads to it, and there is no such instance"),
)
_WITHOUT: Final = (
    "select distinct instance_id from {table} t "
    "where not exists (select 1 from romancy_instances i where i.instance_id = t.instance_id{life})"
)
_ORPHANS: Final = (
    "select instance_id, owner from romancy_instances i where owner is not null "
    "and not exists (select 1 from romancy_workers w where w.token = i.owner)"
)


class Tables:
    """One opened store, which is only read."""

    def __init__(self, store: Store, codecs: Codecs = NO_CODECS) -> None:
        self._bare = store
        self._store = coded(store, codecs)

    @property
    def shows_mail(self) -> bool:
        """Whether the sweep can read inboxes."""
        return self._bare.capabilities.sql

    async def rows(self) -> AsyncIterator[InstanceRow]:
        """Every instance, newest first."""
        token: str | None = None
        while True:
            page = await self._bare.services.reading.find(build_query(limit=MAX_LIMIT, page_token=token))
            for row in page.rows:
                yield row
            token = page.next_token
            if token is None:
                return

    async def row(self, instance_id: str) -> InstanceRow | None:
        """One instance."""
        found = await self._bare.read(instance_id, limit=0)
        return None if found is None else found.instance

    async def log(self, instance_id: str, *, at_most: int | None = None) -> tuple[InstanceRow, list[LogRow]] | None:
        """Return an instance and the rest of its log, read together; no rows if there are more than `limit`.

        Raises CodecError where it is sealed.
        """
        rows: list[LogRow] = []
        while True:
            page: History | None = await self._store.read(instance_id, after=rows[-1].seq if rows else 0)
            if page is None:
                return None
            rows += page.rows
            if at_most is not None and len(rows) > at_most:
                return page.instance, []
            if not page.more:
                return page.instance, rows

    async def mail(self, instance_id: str) -> list[bytes]:
        """Return the bodies in one inbox, as they are stored."""
        sql = f"select body from romancy_inbox where instance_id = {self._bare.capabilities.placeholder}"  # noqa: S608
        return [bytes(row["body"]) for row in await self._select(sql, instance_id)]

    async def places(self, instance_id: str) -> list[tuple[Owner, Interest]]:
        """The demands and places under limits that are registered for an instance, of all its lives."""
        return await self._bare.services.lookups.places_of([instance_id])

    async def strays(self) -> list[tuple[str, str]]:
        """Yield rows that belong to no instance: the instance id they name, and what is wrong."""
        found: list[tuple[str, str]] = []
        for table, words in _STRAY if self._bare.capabilities.sql else ():
            sql = _WITHOUT.format(table=f"romancy_{table}", life=" and i.life = t.life" if table == "log" else "")
            found += [(_text(row["instance_id"]), words) for row in await self._select(sql)]
        for row in await self._select(_ORPHANS) if self._bare.capabilities.sql else ():
            found.append((_text(row["instance_id"]), _unknown(_text(row["owner"]))))
        return found

    async def _select(self, sql: str, *values: object) -> list[dict[str, Any]]:
        async with self._bare.services.sessions.begin() as session:
            return await session.fetch_all(sql, *values)


def _unknown(owner: str) -> str:
    return f"worker {owner} owns it, and there is no such worker"


def _text(value: str | bytes) -> str:
    """Return text; some drivers return bytes for columns that compare byte for byte."""
    return value.decode() if isinstance(value, bytes) else value
