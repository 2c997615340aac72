"""Connects to that one of several hosts which is the primary now.

One search goes on at a time, and the other callers wait for what it finds. So when the primary is lost, the callers of
all pools together try the other hosts once. The host that was found is the only one tried until that fails. A search
that found none may be followed by the next one after a pause: hundreds of callers may try again at once, and each
server that is no primary would get a connection from each.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from romancy.errors import StorageConfigurationError, StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.hosts import Host

__all__ = ["Primary"]

C = TypeVar("C")

_BETWEEN_SEARCHES = 0.2
"""Seconds after a search that found none, before the next one begins."""


class Primary:
    """The primary among these hosts, as far as it is known."""

    def __init__(self, where: str, hosts: Sequence[Host]) -> None:
        self._where = where
        self._order = list(hosts)
        """The hosts in the order of the next search. The one that was lost last is at the end."""
        self._found: Host | None = None
        self._search: asyncio.Future[StorageError | None] | None = None
        """The search that goes on. Its result is the error with which it ended. Cancelled: its caller has gone."""
        self._not_before = 0.0
        """When the next search may begin."""

    async def connect(self, make: Callable[[Host], Awaitable[C]]) -> C:
        """A connection to the primary. `make` raises StorageError for a host that cannot be used now.

        If no host can be used, the error names each with its reason. It is StorageUnavailableError, unless the reason
        is StorageConfigurationError for all of them.
        """
        if self._search is None and (found := self._found) is not None:
            try:
                return await make(found)
            except StorageError:
                self._lost(found)
        search = self._search
        if search is None:
            return await self._look(make)
        await asyncio.wait([search])
        if search.cancelled():
            return await self.connect(make)  # one of those who waited searches now
        if (error := search.result()) is not None:
            raise type(error)(str(error))
        if self._found is None:
            raise StorageUnavailableError(f"{self._where}: the primary was found and lost again")
        return await make(self._found)

    def _lost(self, host: Host) -> None:
        if self._found == host:
            self._found = None
            self._order.remove(host)
            self._order.append(host)

    async def _look(self, make: Callable[[Host], Awaitable[C]]) -> C:
        loop = asyncio.get_running_loop()
        search = self._search = loop.create_future()
        try:
            if (pause := self._not_before - loop.time()) > 0:
                await asyncio.sleep(pause)
            connection = await self._first(make)
            search.set_result(None)
        except StorageError as error:
            self._not_before = loop.time() + _BETWEEN_SEARCHES
            search.set_result(error)
            raise
        finally:
            self._search = None
            search.cancel()  # has an effect only if neither happened
        return connection

    async def _first(self, make: Callable[[Host], Awaitable[C]]) -> C:
        refused: list[StorageError] = []
        for host in tuple(self._order):
            try:
                connection = await make(host)
            except StorageError as error:
                refused.append(error)
            else:
                self._found = host
                return connection
        wrong = all(isinstance(error, StorageConfigurationError) for error in refused)
        kind = StorageConfigurationError if wrong else StorageUnavailableError
        reasons = " ".join(f"({number}) {error}" for number, error in enumerate(refused, start=1))
        raise kind(f"{self._where}: none of its {len(refused)} hosts can be used: {reasons}")
