"""The service for upkeep: removing what is over, missing migrations, and settings that cost durability or speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.sqlkit.pruning import Pruning
from romancy.storage.upkeep import Plan, Setting
from romancy_mysql._dialect import dialect_of
from romancy_mysql._migrations import plan_for
from romancy_mysql.engines.engine import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.sqlkit.statements import Interpreter
    from romancy.storage.upkeep import Verdict
    from romancy_mysql._database import Database

__all__ = ["MySQLUpkeep"]

_SMALL_POOL: Final = 128 * 1024 * 1024


class MySQLUpkeep:
    """The operator's side of a store on MySQL's wire."""

    def __init__(self, database: Database, interpreter: Interpreter, unopened: Callable[[], Database]) -> None:
        self._database = database
        self._unopened = unopened
        self.prune = Pruning(interpreter).prune

    async def plan(self) -> Plan:
        database = self._unopened()
        try:
            async with database.work.borrow() as wire:
                await database.look_for_cluster(wire)  # its node may not have what was migrated on another one
                settings = database.settings
                dialect = dialect_of(wire.server_version, settings.where, scheme=settings.scheme)
                return await plan_for(database, wire, dialect)
        finally:
            await database.close()

    async def settings(self) -> list[Setting]:
        (answer,) = await self._database.ask(self._database.statement("server_settings"))
        found = {str(name).lower(): str(value) for name, value in answer.rows}
        settings, wanted = self._database.settings, self._database.engine.wanted_settings
        judged = [_wanted(found, one) for one in wanted] if wanted else _of_innodb(found, durable=settings.durable)
        most = found.get("max_connections", "0")
        return judged if most == "0" else [*judged, _connections(most, settings.pool_size)]  # 0: as many as there are


def _of_innodb(found: dict[str, str], *, durable: bool) -> list[Setting]:
    forgetful: Verdict = "problem" if durable else "note"
    wanted = [
        Wanted("innodb_flush_log_at_trx_commit", ("1",), forgetful, "a crash of its machine loses commits"),
        Wanted(
            "innodb_doublewrite", ("ON", "DETECT_AND_RECOVER", "1"), forgetful,
            "a loss of power can damage pages that were half written",
        ),
        Wanted("read_only", ("OFF", "0"), "problem", "nothing can be written: a replica"),
    ]  # fmt: skip
    if found.get("log_bin", "OFF") in ("ON", "1"):
        lost = "a crash of its machine loses commits that are not in the binary log yet"
        wanted.append(Wanted("sync_binlog", ("1",), forgetful, lost))
    return [*(_wanted(found, one) for one in wanted), _pool(int(found["innodb_buffer_pool_size"]))]


def _wanted(found: dict[str, str], wanted: Wanted) -> Setting:
    name, values, otherwise, cost = wanted
    value = found.get(name, "unknown")
    good = value in (*values, "unknown")
    return Setting.judged(name, value, good=good, otherwise=otherwise, advice=f"{cost}; set it to {values[0]}")


def _pool(size: int) -> Setting:
    return Setting.judged(
        "innodb_buffer_pool_size",
        f"{size / 1024 / 1024:.0f} MB",
        good=size > _SMALL_POOL,
        advice="the default; what does not fit is read from the disk, so give it most of the memory of a server",
    )


def _connections(most: str, pool_size: int) -> Setting:
    told = f"{most}, of which an app takes up to {pool_size}"
    advice = "there is room for one app; raise it, or lower pool_size in the URL"
    return Setting.judged("max_connections", told, good=int(most) >= 2 * pool_size, advice=advice)
