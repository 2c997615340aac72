"""Notices to all workers, from outside: posted, found and taken down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.engine.surroundings import here
from romancy.errors import UsageError
from romancy.storage.limits import check_id, check_text
from romancy.storage.notices import notice_row, notices_in, row_to_leave

if TYPE_CHECKING:
    from romancy.storage.notices import Notice, NoticeKind
    from romancy.storage.protocol import Store

__all__ = ["check_pause", "notices_of", "pause_by_name", "paused_by_name", "post", "take_down", "tell_workers"]

_MOST_OF_A_REASON: Final = 1000


async def notices_of(store: Store, kind: NoticeKind, name: str | None = None) -> list[Notice]:
    """The notices of a kind that hold, the oldest first; with a name, those about it."""
    found = notices_in((await store.services.reading.census()).workers)
    return [one for one in found if one.kind == kind and name in (None, one.name)]


async def post(store: Store, kind: NoticeKind, name: str, reason: str = "") -> None:
    """Tell all workers."""
    await store.heartbeat(notice_row(here().token(), kind, name, reason))


async def take_down(store: Store, notices: list[Notice]) -> None:
    """End these notices."""
    for one in notices:
        await store.leave(row_to_leave(one.token))


async def tell_workers(store: Store) -> None:
    """Let workers look at all notices: they hear of a row that they do not know."""
    news = row_to_leave(here().token(), "over")
    await store.heartbeat(news)
    await store.leave(news)


async def pause_by_name(store: Store, kind: NoticeKind, name: str, reason: str) -> None:
    """Tell all workers that this activity or workflow is paused. Raises UsageError if it is already."""
    for one in await notices_of(store, kind, name):
        because = f" because {one.reason}" if one.reason else ""
        raise UsageError(f"{kind} {name!r} is paused already{because}; unpause it to give another reason")
    await post(store, kind, name, reason)


async def paused_by_name(store: Store, kind: NoticeKind, name: str) -> list[Notice]:
    """The notices that pause it. Raises UsageError if none does."""
    if not (found := await notices_of(store, kind, name)):
        raise UsageError(f"{kind} {name!r} is not paused")
    return found


def check_pause(kind: NoticeKind, name: str, reason: str = "") -> None:
    """Raise UsageError for what can be no name of an activity or a workflow, or no reason."""
    check_id(name, f"name of the {kind}")
    check_text(reason, "reason")
    if len(reason) > _MOST_OF_A_REASON:
        raise UsageError(f"reason= has {len(reason)} characters; at most {_MOST_OF_A_REASON} fit")
