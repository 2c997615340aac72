"""The transaction that an activity writes in. User code can use it but not end it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from romancy.storage.protocol import Session as StorageSession

__all__ = ["Session"]

_BINDING: Final = frozenset({"TypeError", "ProgrammingError", "InterfaceError", "DataError"})
"""The drivers' errors for parameters that do not fit the SQL. A single list can be right: it may be an array."""


class Session:
    """A transaction that commits together with the activity's completion, or not at all.

    The SQL is the database's own, with the driver's placeholders (SQLite `?`, PostgreSQL `$1`, MySQL and MariaDB `%s`).
    The parameters follow it one by one. Errors are the driver's own. A statement that fails dooms the whole session,
    unless it failed inside `savepoint()`.
    """

    __slots__ = ("_session",)

    def __init__(self, session: StorageSession) -> None:
        self._session = session

    @property
    def native(self) -> Any:
        """The driver's own object inside the transaction. It refuses to commit, roll back or close."""
        return self._session.native

    async def execute(self, sql: str, *parameters: object) -> int:
        """Run one statement and return how many rows it touched."""
        try:
            return await self._session.execute(sql, *parameters)
        except Exception as error:
            _explain(error, parameters)
            raise

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Run one query and return all its rows, by column name."""
        try:
            return await self._session.fetch_all(sql, *parameters)
        except Exception as error:
            _explain(error, parameters)
            raise

    async def fetch_one(self, sql: str, *parameters: object) -> dict[str, Any] | None:
        """Run one query and return its first row, or None."""
        rows = await self.fetch_all(sql, *parameters)
        return rows[0] if rows else None

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A part that can fail alone: an exception inside undoes the part and reaches the caller."""
        return self._session.savepoint()


def _explain(error: Exception, parameters: tuple[object, ...]) -> None:
    """Add a note on how parameters are given if they were given as for a DB-API cursor."""
    if len(parameters) == 1 and isinstance(parameters[0], (tuple, list, dict)) and type(error).__name__ in _BINDING:
        error.add_note("a session takes parameters one by one: execute(sql, a, b), not execute(sql, (a, b))")
