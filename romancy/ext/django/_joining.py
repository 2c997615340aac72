"""Django's connections as `session=`: the driver's connection inside `atomic()`, and `on_commit` for its end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionProxy

from romancy.errors import UsageError
from romancy.storage.joining import Joined, here

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.joining import Run

__all__ = ["join"]


async def join(session: object, run: Run, /) -> Joined:
    """The driver's connection of `django.db.connection`, or of one of `django.db.connections`."""
    if not isinstance(session, BaseDatabaseWrapper | ConnectionProxy):
        raise UsageError(
            "session= takes django.db.connection, or one of django.db.connections, inside `atomic()`, "
            f"not {type(session).__name__}"
        )
    if run is here:
        raise UsageError(
            "session= was given a connection of Django's by code with `await`, where Django has no transactions; "
            "use romancy.ext.django.opened_app() in a plain function, which an async view calls by `sync_to_async`"
        )
    connection, driver = await run(partial(_reached, session))
    at_end = partial(_at_end, connection) if connection.in_atomic_block else None
    return Joined(driver, run, at_end)


def _reached(session: BaseDatabaseWrapper | ConnectionProxy[Any]) -> tuple[BaseDatabaseWrapper, object]:
    """The connection of this thread, and the driver's."""
    connection = session if isinstance(session, BaseDatabaseWrapper) else connections[session.alias]
    if not connection.in_atomic_block and connection.get_autocommit():
        raise UsageError(
            f"session= was given the connection {connection.alias!r} outside of a transaction: put the call, and "
            "what is to be committed with it, into `with transaction.atomic():`"
        )
    if connection.needs_rollback:
        raise UsageError(
            f"session= was given the connection {connection.alias!r} inside an `atomic()` block in which something has "
            "failed: leave the block and begin again"
        )
    connection.validate_thread_sharing()
    if connection.connection is None:
        raise UsageError(f"session= was given the connection {connection.alias!r}, which is closed")
    driver: object = connection.connection
    if type(driver).__module__.startswith("MySQLdb"):
        raise UsageError(
            f"session= was given the connection {connection.alias!r}, whose driver is mysqlclient; use PyMySQL: call "
            "pymysql.install_as_MySQLdb() in the project's __init__.py"
        )
    return connection, driver


def _at_end(connection: BaseDatabaseWrapper, call: Callable[[], None]) -> None:
    """Call this once after the commit. A rolled back savepoint does not remove a callback registered before it."""
    if not any(noted[1] == call for noted in connection.run_on_commit):
        connection.on_commit(call, robust=True)
