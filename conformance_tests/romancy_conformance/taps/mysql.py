"""The tap of MySQL and MariaDB: between the adapter and its connections.

A packet of several statements has no place to wait between them. While somebody listens, the adapter cuts its packets
after each statement, as it does after 4 MB of a large commit. The statements and their order stay, also those that add
up the rows touched. What is prepared for users is prepared here.
"""

# pyright: reportPrivateUsage=false
# A tap reaches into the adapter, which knows nothing of it.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from unittest import mock

from romancy_conformance.taps.tap import Tap
from romancy_mysql._commit import Committer
from romancy_mysql._database import Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Step
    from romancy_mysql._connection import Line, Wire
    from romancy_mysql._protocol import Answer
    from romancy_mysql._sql import Statement
    from romancy_mysql._store import MySQLStore

__all__ = ["MySQLTap"]

_COUNT = "count"
"""The name of the statements that only add up what the one before has touched."""


class MySQLTap(Tap):
    """Hears each statement that the adapter gives to a connection."""

    def __init__(self) -> None:
        super().__init__()
        self._patch_database()
        append = Committer._append

        async def heard(committer: Committer, item: Step, worker: str | None, wire: Wire) -> bool:
            database = committer._database
            return await append(committer, item, worker, cast("Wire", self._line(database, wire)))

        mock.patch.object(Committer, "_append", heard).start()

    def sender(self, store: Store) -> object:
        return cast("MySQLStore", store).database

    def _patch_database(self) -> None:
        send, carry_out, packets = Database.send, Database.carry_out, Database._packets

        async def sent(database: Database, line: Line, statements: Sequence[Statement]) -> list[Answer]:
            return await send(database, self._line(database, line), statements)

        async def carried(database: Database, line: Line, statements: Sequence[Statement], **more: Any) -> list[Answer]:
            return await carry_out(database, self._line(database, line), statements, **more)

        def cut(database: Database, statements: Iterable[Statement]) -> list[tuple[bytes, str]]:
            if not self.hears(database):
                return packets(database, statements)
            return [packet for one in statements for packet in packets(database, [one])]

        for name, method in (("send", sent), ("carry_out", carried), ("_packets", cut)):
            mock.patch.object(Database, name, method).start()

    def _line(self, database: Database, line: Line) -> Line:
        return line if isinstance(line, _Heard) else _Heard(self, database, line)


class _Heard:
    """A connection whose statements are heard before it sends them."""

    def __init__(self, tap: MySQLTap, database: Database, line: Any) -> None:
        self._tap = tap
        self._database = database
        self._line = line

    async def run(self, packet: bytes, what: str) -> list[Answer]:
        if what != _COUNT:
            await self._tap.heard(self._database, what)
        answers: list[Answer] = await self._line.run(packet, what)
        return answers

    async def execute(self, sql: bytes, values: Any, what: str) -> Answer:
        await self._tap.heard(self._database, what)
        answer: Answer = await self._line.execute(sql, values, what)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)
