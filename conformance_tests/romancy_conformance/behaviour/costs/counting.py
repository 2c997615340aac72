"""The statements that a database received, as the database itself records them.

PostgreSQL and MySQL write every statement to their log, on a private server of the test; SQLite, which runs in this
process, calls back. A packet with several statements counts as several.
"""

from __future__ import annotations

import math
import re
import sqlite3
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from romancy_conformance.servers import Server

__all__ = ["SqliteStatements", "Statements", "is_bracket", "statements_at"]

_BRACKET = re.compile(r"begin|start transaction|commit|rollback|savepoint|release", re.IGNORECASE)


def is_bracket(statement: str) -> bool:
    """Whether the statement only begins or ends a transaction or a savepoint."""
    return _BRACKET.match(statement) is not None


class Statements(ABC):
    """The statements that arrive at one database while this is on."""

    at_rest: float
    """Statements a second that an idle worker may send."""
    looks = math.inf
    """Looks for news a second while there is none, if the store looks more often after some."""
    _opening = re.compile("(?!)")
    """The statements that set a new connection up. A pool may open one at any time."""
    _look: re.Pattern[str]
    """The periodic query by which a store learns what other processes did."""
    _beat: re.Pattern[str]
    """The statements of a heartbeat."""
    _start: re.Pattern[str]
    """The statement that writes the first rows of logs; there is one in each such transaction."""

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def on(self) -> Any:
        """Return a context in which statements are recorded; make the connections inside it."""

    @abstractmethod
    def clear(self) -> None:
        """Forget the statements so far."""

    @abstractmethod
    def asked(self) -> list[str]:
        """Return the statements since then, in order."""

    def of_work(self) -> list[str]:
        """Return the statements for work, without the periodic ones and those that set up a connection."""
        return [each for each in self.asked() if not (self.is_look(each) or self._opening.match(each))]

    def is_look(self, statement: str) -> bool:
        """Whether this is the store's periodic query for news."""
        return self._look.search(statement) is not None

    def is_beat(self, statement: str) -> bool:
        """Whether this belongs to a heartbeat."""
        return self._beat.match(statement) is not None

    def of_starts(self) -> list[str]:
        """Return the statements that start instances, one for each commit."""
        return [statement for statement in self.asked() if self._start.match(statement)]


class SqliteStatements(Statements):
    """Only those of this process."""

    at_rest = 5
    looks = 3.4
    _look = re.compile("pragma data_version")
    _beat = re.compile(r"insert into romancy_workers|select\s+token, worker_id")
    _start = re.compile("insert (or ignore )?into romancy_log")

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:///{path}")
        self._asked: list[str] = []

    @contextmanager
    def on(self) -> Generator[None]:
        connect = sqlite3.connect

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*arguments, **options)
            connection.set_trace_callback(self._asked.append)
            return connection

        with mock.patch.object(sqlite3, "connect", traced):
            yield

    def clear(self) -> None:
        self._asked.clear()

    def asked(self) -> list[str]:
        return [sql for sql in self._asked if not sql.startswith("-- ")]  # statements of a trigger


class _LoggedStatements(Statements):
    """Those of every process, from a file that the server appends to."""

    def __init__(self, server: Server, log: Path) -> None:
        super().__init__(server.fresh_database())
        self._server = server
        self._log = log
        self._from = 0

    def clear(self) -> None:
        self._from = self._log.stat().st_size

    def asked(self) -> list[str]:
        with self._log.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._from)
            return self._statements(log.read())

    @abstractmethod
    def _statements(self, text: str) -> list[str]: ...


class _PostgresStatements(_LoggedStatements):
    at_rest = 2
    _look = re.compile(r"^select 1$")
    _beat = re.compile("insert into romancy_workers|select romancy_now")
    _start = re.compile("with item as materialized")

    def __init__(self, server: Server) -> None:
        super().__init__(server, server.log)

    @contextmanager
    def on(self) -> Generator[None]:
        database = self.url.rpartition("/")[2]
        self._server.access.fetch(f"alter database {database} set log_statement = 'all'")
        yield

    def _statements(self, text: str) -> list[str]:
        return re.findall(r"LOG:  (?:statement|execute [^:]*): (.*)", text)


class _MysqlStatements(_LoggedStatements):
    at_rest = 3
    _opening = re.compile("set names |set session (sql_mode|transaction)")
    _look = re.compile(r"^\(?select instance_id, touched_at |^with recursive ticks ")
    _beat = re.compile(r"update \S*romancy_workers|select timestampdiff\(.*\) as now")
    _start = re.compile(r"insert into \S*romancy_log ")

    def __init__(self, server: Server) -> None:
        super().__init__(server, server.folder / "statements")

    @contextmanager
    def on(self) -> Generator[None]:
        self._server.access.fetch(f"set global general_log_file = '{self._log}'")
        self._server.access.fetch("set global general_log = 1")
        yield
        self._server.access.fetch("set global general_log = 0")

    def _statements(self, text: str) -> list[str]:
        # "<time> <connection> <command>\t<text>", where the text may have several lines; MariaDB writes a packet as
        # received.
        _, *entries = re.split(r"^[^\t\n]*\t+ *\d+ (\w+)(?:\t|$)", "\n" + text, flags=re.MULTILINE)
        carried_out = ("Query", "Execute")
        packets = [said for command, said in zip(entries[::2], entries[1::2], strict=True) if command in carried_out]
        return [statement.strip() for packet in packets for statement in packet.split(";") if statement.strip()]


def statements_at(server: Server) -> Statements:
    """Return the recorder for an empty database on this server."""
    return _PostgresStatements(server) if server.kind == "postgres" else _MysqlStatements(server)
