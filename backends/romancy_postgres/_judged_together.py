"""Messages that one statement can judge together: no two of one id have a place in common.

All parts of a statement see the same rows. Whether the second of two such messages is kept, and uses its dedupe key,
depends on what became of the first, which only a later statement sees. Nearly every batch is one part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from romancy.storage.records import Delivery
    from romancy.storage.routing import Posting

__all__ = ["mail_judged_together", "posts_judged_together"]

T = TypeVar("T")
_Place = tuple[str, str]


def mail_judged_together(batch: Sequence[Delivery]) -> list[Sequence[Delivery]]:
    """Messages for inboxes."""
    return [batch] if len(batch) == 1 else _judged_together(batch, lambda one: [(one.instance_id, one.delivery_id)])


def posts_judged_together(batch: Sequence[Posting]) -> list[Sequence[Posting]]:
    """Messages for addresses."""
    if len(batch) == 1:
        return [batch]
    return _judged_together(batch, lambda one: [(place.address, one.message_id) for place in one.places])


def _judged_together(batch: Sequence[T], places: Callable[[T], Iterable[_Place]]) -> list[Sequence[T]]:
    found: list[Sequence[T]] = []
    taken, begun = set[_Place](), 0
    for number, one in enumerate(batch):
        here = places(one)
        if not taken.isdisjoint(here):
            found.append(batch[begun:number])
            taken, begun = set[_Place](), number
        taken.update(here)
    return [*found, batch[begun:]] if begun else [batch]
