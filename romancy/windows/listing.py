"""Pages of windows. The log and the inbox of each are read, so a page is bounded, and a few are read at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from romancy.errors import CodecError
from romancy.managing.instances import OPEN
from romancy.query import InstanceFilter
from romancy.windows.looking import Window, window_of
from romancy.windows.records import WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.managing.instances import Instances
    from romancy.storage.protocol import Store
    from romancy.storage.query import Query

__all__ = ["WindowPage", "looked_at", "page_of_windows", "query_of_windows"]

_AT_ONCE: Final = 8
"""How many windows of a page are read at a time."""


@dataclass(frozen=True, slots=True)
class WindowPage:
    """A page of windows that have calls, those that have begun last first.

    It may have fewer than were asked for, or none, although another page follows: windows without calls are left out.
    """

    windows: list[Window]
    next_page_token: str | None

    @property
    def has_more(self) -> bool:
        """Whether there is another page."""
        return self.next_page_token is not None


def query_of_windows(limit: int, page_token: str | None) -> Query:
    """The query for the instances that are windows and have not ended."""
    chosen = InstanceFilter.of(None, {"workflow_name": WINDOW, "status": OPEN})
    return chosen.query(limit=limit, page_token=page_token)


async def page_of_windows(instances: Instances, limit: int, page_token: str | None) -> WindowPage:
    """Raises CodecError if one was written with a codec that the app does not have."""
    access = instances._access  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app itself reads
    found = await access.lists().store.services.reading.find(query_of_windows(limit, page_token))
    looked = await looked_at(access.opened(), [row.instance_id for row in found.rows])
    for one in looked:
        if isinstance(one, CodecError):
            raise one
    held = [one for one in looked if one is not None and not isinstance(one, CodecError) and one.calls]
    return WindowPage(held, found.next_token)


async def looked_at(store: Store, instance_ids: Sequence[str]) -> list[Window | CodecError | None]:
    """The windows that are these instances, and why one cannot be read here. None: it is none, or is gone."""

    async def look(instance_id: str) -> Window | CodecError | None:
        try:
            return await window_of(store, instance_id)
        except CodecError as error:
            return error

    looked: list[Window | CodecError | None] = []
    for start in range(0, len(instance_ids), _AT_ONCE):
        looked += await asyncio.gather(*map(look, instance_ids[start : start + _AT_ONCE]))
    return looked
