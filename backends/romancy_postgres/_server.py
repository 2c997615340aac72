"""Checks whether the server can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from romancy.errors import StorageConfigurationError
from romancy_postgres._connection import PROMISED
from romancy_postgres.engines import DROPPED, PLAIN, with_extensions

if TYPE_CHECKING:
    from romancy_postgres._database import Database
    from romancy_postgres.engines import Engine

__all__ = ["OLDEST", "Server", "check_server", "meet"]

OLDEST = 13


class Server(NamedTuple):
    """What a server says about itself."""

    version: str
    engine: Engine
    addition: str = ""
    """What follows its version."""

    def __str__(self) -> str:
        return f"PostgreSQL {self.version}{self.addition}"


async def check_server(database: Database) -> Server:
    """Ask the server. `StorageConfigurationError` if it is too old, not in Unicode, or may lose commits."""
    spoken = database.settings.engine
    promised = {**PROMISED, **spoken.planning} if spoken.keeps_session else {}
    answer = await database.fetch("server", list(promised), list(promised.values()))
    ((number, version, encoding, fsync, extensions, kept),) = answer
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
        raise StorageConfigurationError(f"{where}: {DROPPED.format(names=', '.join(dropped))}")
    found: dict[str, str] = dict(extensions)
    engine = with_extensions(found)
    return Server(_short(version), engine, engine.addition.format(version=found.get(engine.extension)))


async def meet(database: Database) -> Server:
    """Check the server, and speak to it as its engine wants. `StorageConfigurationError` if it cannot be used."""
    server = await check_server(database)
    if server.engine is not PLAIN:
        database.speak_to(server.engine)
    if server.engine.opening is not None:
        await server.engine.opening.before(database)
    return server


def _short(version: object) -> str:
    return str(version).split(" ", 1)[0]
