"""Checks whether the server can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from romancy.errors import StorageConfigurationError
from romancy_postgres._connection import CITUS_PLANNING, PROMISED

if TYPE_CHECKING:
    from romancy_postgres._database import Database

__all__ = ["OLDEST", "Server", "check_nodes", "check_place", "check_server"]

OLDEST = 13


class Server(NamedTuple):
    """What a server says about itself."""

    version: str
    citus: str | None
    """The version of Citus, which may spread tables over other servers (0082)."""

    def __str__(self) -> str:
        return f"PostgreSQL {self.version}" + (f" with Citus {self.citus}" if self.citus else "")


async def check_server(database: Database) -> Server:
    """Ask the server. `StorageConfigurationError` if it is too old, not in Unicode, or may lose commits."""
    planned = CITUS_PLANNING if database.settings.citus else {}
    promised = {} if database.settings.pooled else PROMISED | planned
    answer = await database.fetch("server", list(promised), list(promised.values()))
    ((number, version, encoding, fsync, citus, settles, kept),) = answer
    where = database.settings.where
    if number < OLDEST * 10_000:
        raise StorageConfigurationError(
            f"{where}: PostgreSQL {_short(version)} is too old; upgrade the server, or name another one in the URL: "
            f"{OLDEST} or newer is needed"
        )
    if encoding != "UTF8":
        raise StorageConfigurationError(
            f"{where}: the database is encoded in {encoding}; create one with ENCODING 'UTF8' TEMPLATE template0"
        )
    if fsync != "on" and database.settings.durable:
        raise StorageConfigurationError(
            f"{where}: fsync is {fsync} on this server, so that a crash of its machine loses or damages what was "
            "committed; set fsync = on, or add durability=relaxed to the URL to accept that"
        )
    if dropped := sorted(promised.keys() - set(kept)):
        raise StorageConfigurationError(
            f"{where}: a pooler on the way drops the settings of the connection ({', '.join(dropped)}), as PgBouncer "
            "does with ignore_startup_parameters; add the option pooler=transaction to the URL, or name the server "
            "itself there"
        )
    if citus is not None and settles == "-1" and database.settings.durable:
        raise StorageConfigurationError(
            f"{where}: citus.recover_2pc_interval is -1, so that after the crash of a node nobody finishes the commits "
            "that were prepared on it, and what was committed there stays unseen; set it to 1s, or add "
            "durability=relaxed to the URL to accept that"
        )
    return Server(_short(version), citus)


async def check_place(database: Database) -> None:
    """Refuse a node of Citus that is not the coordinator: advisory locks and LISTEN are of one server."""
    ((place,),) = await database.fetch("place_in_citus")
    if place != 0:
        raise StorageConfigurationError(
            f"{database.settings.where}: this server is a node of Citus; name its coordinator in the URL, whose locks "
            "and notifications all workers share"
        )


async def check_nodes(database: Database) -> None:
    """Refuse nodes of Citus that wait for locked rows without a limit: they do not get the limit of a connection."""
    settings = database.settings
    patient = [port for port, limit in await database.fetch("lock_timeouts", settings.schema or "") if limit == "0"]
    if patient:
        raise StorageConfigurationError(
            f"{settings.where}: {len(patient)} nodes of Citus wait for locked rows without a limit, so that such a row "
            "holds up all others of its statement; set lock_timeout = 1s in the configuration of each node"
        )


def _short(version: object) -> str:
    return str(version).split(" ", 1)[0]
