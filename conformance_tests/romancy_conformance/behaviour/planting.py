"""Deliberate damage to a database, alike on every database: rows changed, removed and added behind Romancy's back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from msgspec import Raw

from romancy.engine import new_life, start_of
from romancy.storage.backends import create_store
from romancy.storage.records import LogRow
from romancy_conformance.contract.building import unique

if TYPE_CHECKING:
    from types import TracebackType

    from romancy.workflow import Workflow

__all__ = ["Planting"]


class Planting:
    """Use it with `async with`, while no worker uses the database.

    A session of Romancy commits with an instance: it starts one of the given workflow.
    """

    def __init__(self, url: str, workflow: Workflow[..., Any]) -> None:
        self.store = create_store(url)
        self._workflow = workflow

    async def __aenter__(self) -> Self:
        await self.store.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.store.close()

    async def row(self, instance_id: str, **values: object) -> None:
        """Change the instance's row."""
        sets = ", ".join(f"{name} = {{}}" for name in values)
        await self._run(
            f"update romancy_instances set {sets} where instance_id = {{}}",  # noqa: S608 - names of this module's users
            *values.values(),
            instance_id,
        )

    async def gone(self, table: str, instance_id: str, seq: int | None = None) -> None:
        """Remove a table's rows for an instance, or one row of its log."""
        which = "" if seq is None else " and seq = {}"
        values = (instance_id,) if seq is None else (instance_id, seq)
        await self._run(f"delete from romancy_{table} where instance_id = {{}}{which}", *values)  # noqa: S608

    async def appended(self, instance_id: str, body: bytes, *, writer: str | None = None) -> None:
        """Append one more row to the log."""
        history = await self.store.read(instance_id)
        assert history is not None
        last, life = history.rows[-1], history.instance.life
        row = LogRow(last.seq + 1, writer or unique("planted"), body, last.at)
        await self._run(
            "insert into romancy_log (instance_id, life, seq, writer, body, at) values ({}, {}, {}, {}, {}, {})",
            *(instance_id, life, row.seq, row.writer, row.body, row.at),
        )

    async def log(self, instance_id: str) -> list[LogRow]:
        """Return the rows of its log."""
        history = await self.store.read(instance_id)
        assert history is not None
        return history.rows

    async def cut(self, instance_id: str, *, keep: int) -> None:
        """Truncate the log as if only its first commits had been written."""
        for row in (await self.log(instance_id))[keep:]:
            await self.gone("log", instance_id, row.seq)
        await self.row(instance_id, last_seq=keep)

    async def mailed(self, instance_id: str) -> None:
        """Put a message into the inbox of an instance, which need not exist."""
        postgres = self.store.capabilities.name.startswith("PostgreSQL")
        counted = (", counted", ", {}") if postgres else ("", "")
        extra: tuple[object, ...] = (True,) if postgres else ()
        await self._run(
            f"insert into romancy_inbox (instance_id, delivery_id, body, at{counted[0]}) "  # noqa: S608 - one of two
            f"values ({{}}, {{}}, {{}}, {{}}{counted[1]})",
            *(instance_id, "planted", b"{}", 1, *extra),
        )

    async def _run(self, sql: str, *values: object) -> None:
        mark = self.store.capabilities.placeholder
        marks = [mark.replace("1", str(number)) for number, _ in enumerate(values, 1)]
        async with self.store.services.sessions.begin() as session:
            await session.execute(sql.format(*marks), *values)
            item = start_of(
                self._workflow,
                Raw(b"{}"),
                instance_id=unique("beside"),
                life=new_life("beside"),
                writer=unique(),
                now=1,
            )
            assert await session.commit(item) == "accepted"
