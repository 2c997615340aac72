"""The service for standbys: what `read_url=` needs to know of the two servers.

A server tells the sets of transactions that it has where `gtid_mode` is on, or the last one of each domain where a
binary log is written. Elsewhere, and on nodes that do not number alike, it is unknown how far a replica is behind. The
age of the last transaction is told by some, to an account that may read their performance_schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.errors import StorageConfigurationError
from romancy.storage.standby import Standing
from romancy_mysql._lineage import last_of_each
from romancy_mysql._sql import Statement

if TYPE_CHECKING:
    from romancy_mysql._database import Database

__all__ = ["MySQLStandby", "count_of_each"]

_STANDING: Final = b"select (select min(at) from %b where version > 0), @@global.read_only, %b"
_SETS: Final = b"if(@@global.gtid_mode like 'ON%', @@global.gtid_executed, '')"
_LAST_OF_EACH_DOMAIN: Final = b"@@global.gtid_current_pos"
_AGE: Final = Statement(
    "age",
    b"select timestampdiff(microsecond, max(nullif(last_applied_transaction_original_commit_timestamp, 0)), now(6)) "
    b"from performance_schema.replication_applier_status_by_worker",
)


class MySQLStandby:
    """As `Standby` promises. A database and its copies have recorded their first migration at the same microsecond."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self) -> Standing:
        database, engine = self._database, self._database.engine
        if not engine.transactions:
            raise StorageConfigurationError(
                f"{database.settings.where}: read_url= does not work on {engine.product}; leave it out"
            )
        sets = engine.transactions == "sets"
        asked = _STANDING % (database.table("schema"), _SETS if sets else _LAST_OF_EACH_DOMAIN)
        (answer,) = await database.ask(Statement("standing", asked))
        made_at, copies, gtids = answer.rows[0]
        text = str(gtids) if engine.numbers_alike else ""
        return Standing(
            database=f"made at {made_at}",
            copies=bool(copies),
            transactions=(count_of_each(text) if sets else last_of_each(text)) or None,
            age=await self._age() if engine.tells_age and copies else None,
        )

    async def _age(self) -> float | None:
        """The seconds since the last transaction was committed that this replica has, if this account may know it."""
        try:
            (answer,) = await self._database.ask(_AGE)
        except StorageConfigurationError:
            return None
        micros = answer.rows[0][0]
        return None if micros is None else max(0.0, int(micros) / 1_000_000)


def count_of_each(gtids: str) -> dict[str, int]:
    """How many transactions of each origin are in sets: `a:1-5:7,b:1` as {a: 6, b: 1}."""
    found: dict[str, int] = {}
    for group in "".join(gtids.split()).split(","):
        server, *parts = group.split(":")
        origin = server
        for part in parts:
            if not part[0].isdecimal():  # a tag; the intervals behind it are its own
                origin = f"{server}:{part}"
                continue
            first, _, last = part.partition("-")
            found[origin] = found.get(origin, 0) + int(last or first) - int(first) + 1
    return found
