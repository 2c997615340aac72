"""Refuses a server that lacks transactions which another one had when this process last asked it.

A process asks at each new connection. A replica that has just been promoted has written nothing of its own yet, so the
process asks it again after each call until it has.

A lost primary may come back as if nothing had happened, beside the replica that has taken its place. It is recognised
by its transactions: a server lists the sets of their GTIDs where `gtid_mode` is on, or tells the last one of each
domain. Where there are none, and on the nodes of a cluster, which number by themselves, no server counts as behind. A
server that keeps no rows is not asked.
Only the cluster can prevent that other processes write there: it has to fence the lost primary.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from romancy.errors import StorageUnavailableError
from romancy_mysql._dialect import dialect_of
from romancy_mysql.engines import IS_NODE

if TYPE_CHECKING:
    from romancy_mysql._connection import Wire
    from romancy_mysql.engines import Engine

__all__ = ["Lineage", "last_of_each"]

_SETS: Final = b"select @@global.gtid_executed, gtid_subset('%s', @@global.gtid_executed)"
_LAST_OF_EACH_DOMAIN: Final = b"select @@global.gtid_current_pos; " + IS_NODE
_GTIDS: Final = re.compile(r"[\w:,\-\s]*")
"""A list of GTIDs. Nothing else is sent back to a server as part of a statement."""
_MOST: Final = 1000
"""How often a server is asked again at most. Without a binary log, it may show nothing that it writes."""


class Lineage:
    """The transactions that the newest server had, and the connections to that server."""

    def __init__(self) -> None:
        self.unsure = False
        """Whether the newest server has shown nothing so far that the one before it cannot have: ask it again."""
        self._seen = ""
        self._left = 0
        self._host = ""
        self._current: WeakSet[Wire] = WeakSet()

    async def admit(self, wire: Wire) -> None:
        """Accept a new connection, or raise StorageUnavailableError if its server is behind.

        If it leads to another server than before, all connections to the one before are ended.
        """
        if not _engine_of(wire).transactions:
            return
        there = await self._asked(wire)
        if wire.settings.where != self._host:
            self._end_all()
            self._host = wire.settings.where
            self._seen, self.unsure, self._left = there, there != "", _MOST
        self._learn(there)
        self._current.add(wire)

    async def ask_again(self, wire: Wire) -> None:
        """Learn what the newest server has now. StorageUnavailableError if it lacks what it had."""
        if wire.tainted or wire not in self._current:
            return
        there = await self._asked(wire)
        if wire in self._current:
            self._left -= 1
            self._learn(there)

    def _learn(self, there: str) -> None:
        self.unsure = self.unsure and there == self._seen and self._left > 0
        self._seen = there

    async def _asked(self, wire: Wire) -> str:
        """The transactions of its server. StorageUnavailableError if it is behind."""
        where = wire.settings.where
        ask = self._of_sets if _engine_of(wire).transactions == "sets" else self._of_domains
        known, (there, behind) = self._seen, await ask(wire)
        while known != self._seen:  # the answer of another connection has come in meanwhile
            known, (there, behind) = self._seen, await ask(wire)
        if behind:
            raise StorageUnavailableError(
                f"{where}: it is behind {self._host}, which was used before, and lacks transactions of it; is it a "
                "lost primary that came back? If they are lost for good, start this process again"
            )
        return there

    async def _of_sets(self, wire: Wire) -> tuple[str, bool]:
        (answer,) = await wire.run(_SETS % self._seen.encode(), "asking for its transactions")
        there, complete = answer.rows[0]
        return (text if _GTIDS.fullmatch(text := str(there)) else ""), not complete

    async def _of_domains(self, wire: Wire) -> tuple[str, bool]:
        seen = last_of_each(self._seen)
        answer, cluster = await wire.run(_LAST_OF_EACH_DOMAIN, "asking for its transactions")
        there = "" if cluster.rows else str(answer.rows[0][0])
        last = last_of_each(there)
        return there, not cluster.rows and any(last.get(domain, 0) < number for domain, number in seen.items())

    def _end_all(self) -> None:
        outdated, self._current = self._current, WeakSet()
        for wire in outdated:
            wire.abort()


def _engine_of(wire: Wire) -> Engine:
    settings = wire.settings
    return dialect_of(wire.server_version, settings.where, scheme=settings.scheme).engine


def last_of_each(position: str) -> dict[str, int]:
    """The number of the last transaction of each domain: `0-1-17,1-2-5` as {0: 17, 1: 5}."""
    parts = [gtid.strip().split("-") for gtid in position.split(",") if gtid.strip()]
    return {part[0]: int(part[2]) for part in parts}
