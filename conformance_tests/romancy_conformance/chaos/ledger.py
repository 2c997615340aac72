"""The ledger: a user's table with one row for each effect, written in the sessions of activities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from romancy.status import Status
from romancy.storage.records import as_end
from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from romancy import ActivityContext, Session, SyncSession
    from romancy.storage.protocol import Store

__all__ = [
    "DONE", "PHANTOM", "UNDONE", "Row", "begin", "insert", "insert_now", "read", "times", "times_now", "undone_before",
]  # fmt: skip

DONE, UNDONE, PHANTOM = "done", "undone", "phantom"
_CREATE = (
    "create table chaos_ledger (instance varchar(200) not null, activity varchar(200) not null, "
    "k varchar(100) not null, what varchar(10) not null, n integer not null)"
)


class Row(Struct, frozen=True):
    """One effect."""

    instance: str
    activity: str
    key: str
    what: str
    number: int = 0
    """How much the instance had undone before, if this undoes something."""


async def begin(store: Store) -> None:
    """Create the table."""
    async with store.services.sessions.begin() as session:
        await session.execute(_CREATE)
        if store.capabilities.transactional_ddl:
            named = {"life": 1, "writer": as_end("ledger")}  # the same in each run of a simulation
            await session.commit(start("ledger", status=Status.COMPLETED, delay=None, **named))


async def insert(session: Session, context: ActivityContext, key: str, what: str, number: int = 0) -> None:
    """Write a row in the session of an activity; the suite makes every word in it."""
    values = f"'{context.instance_id}', '{context.activity_id}', '{key}', '{what}', {number}"
    await session.execute(f"insert into chaos_ledger values ({values})")  # noqa: S608 - as said


def insert_now(session: SyncSession, context: ActivityContext, key: str, what: str) -> None:
    """Write a row, from a thread."""
    before = f"instance = '{context.instance_id}' and what = '{UNDONE}'"
    found = session.fetch_all(f"select k from chaos_ledger where {before}") if what == UNDONE else ()  # noqa: S608 - as above
    values = f"'{context.instance_id}', '{context.activity_id}', '{key}', '{what}', {len(found)}"
    session.execute(f"insert into chaos_ledger values ({values})")  # noqa: S608 - as above


def times_now(session: SyncSession, instance_id: str, key: str, what: str) -> int:
    """How often an instance has done or undone something under the key, from a thread."""
    where = f"instance = '{instance_id}' and k = '{key}' and what = '{what}'"
    return len(session.fetch_all(f"select k from chaos_ledger where {where}"))  # noqa: S608 - as above


async def times(session: Session, instance_id: str, key: str, what: str) -> int:
    """How often an instance has done or undone something under the key."""
    where = f"instance = '{instance_id}' and k = '{key}' and what = '{what}'"
    return len(await session.fetch_all(f"select k from chaos_ledger where {where}"))  # noqa: S608 - as above


async def undone_before(session: Session, instance_id: str) -> int:
    """How much an instance has undone so far. It undoes one thing at a time."""
    where = f"instance = '{instance_id}' and what = '{UNDONE}'"
    return len(await session.fetch_all(f"select k from chaos_ledger where {where}"))  # noqa: S608 - as above


async def read(store: Store) -> list[Row]:
    """Return all rows."""
    async with store.services.sessions.begin() as session:
        rows = await session.fetch_all("select instance, activity, k, what, n from chaos_ledger")
    return [Row(row["instance"], row["activity"], row["k"], row["what"], row["n"]) for row in rows]
