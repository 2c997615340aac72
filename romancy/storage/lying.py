"""Reads messages that lie in inboxes: what nobody has taken yet, and what fits no wait.

An adapter may offer this as `lying` of its store. Displays use it, and a retry, which removes old requests to stop.
Owners get their mail with a claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.storage.protocol import Store
    from romancy.storage.records import InboxRow

__all__ = ["MOST_BYTES", "PAGE", "Lying", "LyingMessages", "last_of", "lying_in", "lying_of"]

PAGE: Final = 500
MOST_BYTES: Final = 4 * 1024 * 1024
"""A page ends with the message that reaches this size."""
_HIGHEST: Final = "\U0010ffff" * 63
"""No id of an instance sorts above it."""


class Lying(NamedTuple):
    """A message, and the instance in whose inbox it lies."""

    instance_id: str
    row: InboxRow


class LyingMessages(Protocol):
    async def __call__(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        """Messages in the inbox of an instance, or in all, by instance and delivery id, behind a place.

        It is one statement, which writes and locks nothing and reads no more rows than it returns. A page is cut where
        it has some megabytes.
        """
        ...


def lying_of(store: Store) -> LyingMessages | None:
    """The store's `lying`, or None if it has none."""
    lying: LyingMessages | None = getattr(store, "lying", None)
    return lying


def last_of(instance_id: str | None) -> str:
    """The highest instance id to read."""
    return _HIGHEST if instance_id is None else instance_id


async def lying_in(store: Store, instance_id: str | None = None, *, most: int) -> AsyncIterator[Lying]:
    """The first `most` messages in the inbox of an instance, or in all, page by page. Nothing if it cannot be read."""
    lying, after = lying_of(store), (instance_id or "", "")
    while lying is not None and most > 0:
        page = await lying(instance_id, after=after, limit=min(most, PAGE))
        for each in page:
            yield each
        if not page:
            return
        most -= len(page)
        after = (page[-1].instance_id, page[-1].row.delivery_id)
