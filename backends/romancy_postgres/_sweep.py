"""The sweep of the routing: finishes what a crash has left undone.

A crash between a commit and its dispatch leaves a message and an interest at one address. A crash of an owner leaves
messages that it took, and its interests. A sweep looks at the newest first, and continues through all others from sweep
to sweep, so that its cost does not grow with the number of kept messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from romancy.storage.routing import Dispatched
    from romancy_postgres._database import Database

__all__ = ["Sweep"]

_NEWEST: Final = 500
_PAGE: Final = 1000
_PAGES: Final = 4
_OWNERS: Final = 1000


class Sweep:
    """The sweeps of one store. Each continues where the last one stopped."""

    def __init__(
        self, database: Database, dispatch_at: Callable[[Collection[str], int], Awaitable[Dispatched]]
    ) -> None:
        self._database = database
        self._dispatch_at = dispatch_at
        self._address = ""
        self._owner = ""
        self._mail = ""

    async def run(self, limit: int) -> Dispatched:
        """As `Router.dispatch` promises without addresses."""
        await self._tidy()
        newest = [row[0] for row in await self._database.fetch("sweep_newest", _NEWEST)]
        done = await self._dispatch_at(newest, limit)
        for _ in range(_PAGES if newest else 0):
            if done.delivered or done.more:
                break
            page = [row[0] for row in await self._database.fetch("sweep_addresses", self._address, _PAGE)]
            done = await self._dispatch_at(page, limit)
            if not done.more:
                self._address = page[-1] if len(page) == _PAGE else ""
            if not self._address:
                break
        return done

    async def _tidy(self) -> None:
        """Give back what ended or missing instances never consumed, and remove their interests."""
        *over, ends = await self._database.fetch("sweep_owners", _OWNERS, self._owner, self._mail)
        self._owner, self._mail = ends["next_owner"] or "", ends["next_mail"] or ""
        if over:
            await self._database.run("sweep_ended", sorted(row["instance_id"] for row in over))
