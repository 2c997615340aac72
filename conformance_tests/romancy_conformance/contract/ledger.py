"""A user's table, written in sessions, which shows whether user writes and the log agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from romancy_conformance.contract.building import start, unique

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["Ledger"]


class Writable(Protocol):
    """What the ledger needs of a session: the storage's session, or the façade that activities get."""

    @property
    def native(self) -> Any: ...

    async def execute(self, sql: str, *parameters: object) -> int: ...

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]: ...


class Ledger:
    """Keys and numbers in a table; on a store without SQL, in the native object."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._table = unique("ledger").replace("-", "_")

    async def create(self) -> Ledger:
        """Create the table, as a user's migration would."""
        if self._store.capabilities.sql:
            async with self._store.services.sessions.begin() as session:
                await session.execute(f"create table {self._table} (k varchar(100) primary key, n integer not null)")
                if self._store.capabilities.transactional_ddl:
                    assert await session.commit(start()) == "accepted"
        return self

    async def write(self, session: Writable, key: str, number: int) -> None:
        """Add a row inside the session."""
        if self._store.capabilities.sql:
            one, two = self._placeholders()
            await session.execute(f"insert into {self._table} (k, n) values ({one}, {two})", key, number)  # noqa: S608 - our own table
        else:
            await session.native.put(self.place(key), number)

    async def change(self, session: Writable, key: str, number: int) -> int:
        """Change a row inside the session; return the number of changed rows."""
        one, two = self._placeholders()
        return await session.execute(f"update {self._table} set n = {one} where k = {two}", number, key)  # noqa: S608 - our own table

    async def read(self, key: str) -> int | None:
        """Return the committed value of the key."""
        async with self._store.services.sessions.begin() as session:
            return await self.read_in(session, key)

    async def read_in(self, session: Writable, key: str) -> int | None:
        """Return the value of the key that the session sees."""
        if not self._store.capabilities.sql:
            found = await session.native.get(self.place(key))
            return None if found is None else int(found)
        one, _ = self._placeholders()
        rows = await session.fetch_all(f"select n from {self._table} where k = {one}", key)  # noqa: S608 - our own table
        return int(rows[0]["n"]) if rows else None

    def insert(self, key: str) -> str:
        """Return the statement that adds a row, without parameters."""
        return f"insert into {self._table} (k, n) values ('{key}', 1)"  # noqa: S608 - our own table

    def place(self, key: str) -> str:
        """Return the place of the rows in a store without SQL."""
        return f"{self._table}:{key}"

    def _placeholders(self) -> tuple[str, str]:
        first = self._store.capabilities.placeholder
        return first, first.replace("1", "2")
