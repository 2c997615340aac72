"""The service for upkeep: removing what is over, missing migrations, and settings that cost durability or speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.sqlkit.pruning import Pruning
from romancy.storage.upkeep import Plan, Setting
from romancy_postgres._connection import PLANNING
from romancy_postgres._migrations import plan_for
from romancy_postgres._server import meet

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.sqlkit.statements import Interpreter
    from romancy.storage.upkeep import Verdict
    from romancy_postgres._database import Database
    from romancy_postgres._settings import Settings

__all__ = ["PostgresUpkeep"]

_WANTED: Final = {
    "fsync": (("on",), "a crash of its machine loses or damages what was committed"),
    "full_page_writes": (("on",), "a loss of power can damage pages that were half written"),
    "synchronous_commit": (
        ("on", "remote_apply", "remote_write", "local"), "a crash of the server loses the newest commits",
    ),
    "autovacuum": (("on",), "tables and indexes grow without end, and plans go by old statistics"),
    "transaction_read_only": (("off",), "nothing can be written: a stand-by, or default_transaction_read_only"),
}  # fmt: skip
"""The good values, and what another value costs."""


class PostgresUpkeep:
    """The operator's side of a store on PostgreSQL."""

    def __init__(self, database: Database, interpreter: Interpreter, unopened: Callable[[], Database]) -> None:
        self._database = database
        self._unopened = unopened
        self.prune = Pruning(interpreter).prune

    async def plan(self) -> Plan:
        database = self._unopened()
        database.open()
        try:
            await meet(database)
            return await plan_for(database)
        finally:
            await database.close()

    async def settings(self) -> list[Setting]:
        rows = await self._database.fetch("server_settings")
        found = {str(name): str(value) for name, value in rows}
        settings = self._database.settings
        planned = [] if settings.engine.keeps_session else [await self._planning()]
        return [
            *planned,
            *(_judged(name, found[name], settings) for name in _WANTED),
            _isolation(found["default_transaction_isolation"]),
            _connections(int(found["max_connections"]), settings),
        ]

    async def _planning(self) -> Setting:
        """The planner's settings in a session that is not the connection's own, which cannot make them there."""
        ((*_, kept),) = await self._database.fetch("server", list(PLANNING), list(PLANNING.values()))
        missing = [f"{name} = {value}" for name, value in PLANNING.items() if name not in kept]
        advice = (
            "statistics decide on the plans of statements; for a role that Romancy alone uses: "
            f"ALTER ROLE … SET, for each of {', '.join(missing)}"
        )
        return Setting.judged(
            "planner's settings", "as of the role" if missing else "made", good=not missing, advice=advice
        )


def _judged(name: str, value: str, settings: Settings) -> Setting:
    wanted, cost = _WANTED[name]
    verdict: Verdict = "problem" if settings.durable or name == "transaction_read_only" else "note"
    return Setting.judged(name, value, good=value in wanted, otherwise=verdict, advice=f"{cost}; set it to {wanted[0]}")


def _isolation(value: str) -> Setting:
    return Setting.judged(
        "default_transaction_isolation",
        value,
        good=value == "read committed",
        advice="Romancy's own statements run in read committed; your sessions meet more serialisation failures",
    )


def _connections(most: int, settings: Settings) -> Setting:
    own = settings.pool_size + 4
    told = f"{most}, of which an app takes up to {own}"
    advice = "there is room for one app; raise it, or lower pool_size in the URL"
    return Setting.judged("max_connections", told, good=most >= 2 * own, advice=advice)
