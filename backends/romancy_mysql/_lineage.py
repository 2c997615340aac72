"""Refuses a server that lacks transactions which another one had when this process last connected to it.

A lost primary may come back as if nothing had happened, beside the replica that has taken its place. It is recognised
by its transactions: MySQL lists their GTIDs where `gtid_mode` is on, and MariaDB tells the last one of each domain.
Where there are none, and on the nodes of a Galera cluster, which number by themselves, no server counts as behind. The
servers of a TiDB and the gates of a Vitess keep no rows, so none is asked.
Only the cluster can prevent that other processes write there: it has to fence the lost primary.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from romancy.errors import StorageUnavailableError
from romancy_mysql._dialect import dialect_of

if TYPE_CHECKING:
    from romancy_mysql._connection import Wire

__all__ = ["Lineage", "last_of_each"]

_OF_MYSQL: Final = b"select @@global.gtid_executed, gtid_subset('%s', @@global.gtid_executed)"
_OF_MARIADB: Final = (
    b"select @@global.gtid_current_pos; show variables where variable_name = 'wsrep_on' and value = 'ON'"
)
_GTIDS: Final = re.compile(r"[\w:,\-\s]*")
"""A list of GTIDs. Nothing else is sent back to a server as part of a statement."""


class Lineage:
    """The transactions that the newest server had, and the connections to that server."""

    def __init__(self) -> None:
        self._seen = ""
        self._host = ""
        self._current: WeakSet[Wire] = WeakSet()

    async def admit(self, wire: Wire) -> None:
        """Accept a new connection, or raise StorageUnavailableError if its server is behind.

        If it leads to another server than before, all connections to the one before are ended.
        """
        where = wire.settings.where
        dialect = dialect_of(wire.server_version, where, tidb=wire.settings.tidb)
        if dialect.tidb or dialect.vitess:
            return
        ask = self._of_mysql if dialect.product == "MySQL" else self._of_mariadb
        known, (there, behind) = self._seen, await ask(wire)
        while known != self._seen:  # the answer of another connection has come in meanwhile
            known, (there, behind) = self._seen, await ask(wire)
        if behind:
            raise StorageUnavailableError(
                f"{where}: it is behind {self._host}, which was used before, and lacks transactions of it; is it a "
                "lost primary that came back? If they are lost for good, start this process again"
            )
        if where != self._host:
            self._end_all()
            self._host = where
        self._seen = there
        self._current.add(wire)

    async def _of_mysql(self, wire: Wire) -> tuple[str, bool]:
        (answer,) = await wire.run(_OF_MYSQL % self._seen.encode(), "asking for its transactions")
        there, complete = answer.rows[0]
        return (text if _GTIDS.fullmatch(text := str(there)) else ""), not complete

    async def _of_mariadb(self, wire: Wire) -> tuple[str, bool]:
        seen = last_of_each(self._seen)
        answer, cluster = await wire.run(_OF_MARIADB, "asking for its transactions")
        there = "" if cluster.rows else str(answer.rows[0][0])
        last = last_of_each(there)
        return there, not cluster.rows and any(last.get(domain, 0) < number for domain, number in seen.items())

    def _end_all(self) -> None:
        outdated, self._current = self._current, WeakSet()
        for wire in outdated:
            wire.abort()


def last_of_each(position: str) -> dict[str, int]:
    """The number of the last transaction of each domain: `0-1-17,1-2-5` as {0: 17, 1: 5}."""
    parts = [gtid.strip().split("-") for gtid in position.split(",") if gtid.strip()]
    return {part[0]: int(part[2]) for part in parts}
