"""A connection of PyMySQL in a transaction of the caller's. It runs the adapter's packets, as aiomysql does.

PyMySQL accepts one statement a packet unless it was told otherwise, so several are allowed for the length of the block.
"""

from __future__ import annotations

import struct
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pymysql.connections import Connection
from pymysql.constants import CLIENT
from pymysql.cursors import DictCursor
from pymysql.err import MySQLError

from romancy_mysql._connection import exchange_error
from romancy_mysql._protocol import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.storage.joining import Run

__all__ = ["Blocking", "is_blocking"]

_COM_SET_OPTION: Final = 0x1B
_SEVERAL: Final = 0
_ONE: Final = 1


class Blocking:
    """The connection, with the calls of aiomysql's that a joined session makes."""

    def __init__(self, connection: Any, run: Run) -> None:
        self.connection = connection
        self._run = run

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return not self.connection.open

    @property
    def client_flag(self) -> int:
        """The capability flags that the driver agreed on with the server."""
        return int(self.connection.client_flag)

    async def run(self, packet: bytes, what: str, where: str) -> list[Answer]:
        """Send a packet and collect its answers."""
        return await self._run(partial(self._exchange, packet, what, where))

    async def execute(self, sql: str, parameters: tuple[object, ...]) -> tuple[int, list[dict[str, Any]]]:
        """Run a statement of the user's: how many rows it touched, and those that it returns."""
        return await self._run(partial(self._execute, sql, parameters))

    @asynccontextmanager
    async def several_at_once(self, where: str) -> AsyncGenerator[None]:
        """Allow packets of several statements, if the connection did not."""
        if self.client_flag & CLIENT.MULTI_STATEMENTS:
            yield
            return
        await self._run(partial(self._set, _SEVERAL, where))
        try:
            yield
        finally:
            if not self.closed:
                await self._run(partial(self._set, _ONE, where))

    def _exchange(self, packet: bytes, what: str, where: str) -> list[Answer]:
        connection = self.connection
        answers: list[Answer] = []
        try:
            connection.query(packet)
            while (result := connection._result) is not None:  # noqa: SLF001 - a cursor would parse the text again
                answers.append(Answer(result.rows or (), result.affected_rows))
                if not result.has_next:
                    break
                connection.next_result()
        except (MySQLError, OSError, AttributeError) as error:
            raise exchange_error(error, what, where, closed=self.closed) from None
        return answers

    def _execute(self, sql: str, parameters: tuple[object, ...]) -> tuple[int, list[dict[str, Any]]]:
        with self.connection.cursor(DictCursor) as cursor:
            count = cursor.execute(sql, parameters or None)
            return count, [dict(line) for line in cursor.fetchall()]

    def _set(self, option: int, where: str) -> None:
        connection = self.connection
        try:
            connection._execute_command(_COM_SET_OPTION, struct.pack("<H", option))  # noqa: SLF001 - it has no public name
            connection._read_packet()  # noqa: SLF001 - as above
        except (MySQLError, OSError, AttributeError) as error:
            raise exchange_error(error, "an option", where, closed=self.closed) from None


def is_blocking(connection: object) -> bool:
    """Whether this is a connection of PyMySQL."""
    return isinstance(connection, Connection)
