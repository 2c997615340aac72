"""What a dispatch notes, so that a message is compared with a condition once.

A message that is marked fits no interest at its address that is marked up to its time. A new message, or one that was
given back, has no mark, and an interest loses its mark when another replaces it. So whatever commits late is compared
with everything, marked or not.

A message may be marked if it was compared with all interests at its address that have a mark or get one, and an
interest up to a time if it was compared with all messages up to it that have a mark or get one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from romancy.storage.pairing import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.pairing import Pairing

__all__ = ["Marks", "Page", "many", "marks_of"]

_ADDRESS, _OPEN = 3, 8
"""Columns of an interest."""
_LEAST, _MARKED_AT = 6, 7
"""Columns of a message: up to where all interests at its address are marked, and when something was marked there.
Without the first, there were no conditions there, and the message was read without its data.
"""

_FOR_EVER: Final = (1 << 63) - 1
_MANY: Final = 2000


class Marks(NamedTuple):
    """What a dispatch marks, as rows in the order in which they are locked."""

    messages: list[tuple[str, str, int]]
    """Address, message id and time."""
    interests: list[tuple[str, int, str, str, bytes | None]]
    """Owner, life, interest, address and conditions."""
    until: int
    """The time up to which the interests are marked."""
    addresses: list[tuple[str, int, int]]
    """Address, the time of these marks, and that of the last ones, for a dialect whose dispatches may overlap."""


class Page(NamedTuple):
    """A page of messages, as a dispatch has compared it."""

    done: Pairing
    messages: Sequence[Sequence[Any]]
    closed: Sequence[Sequence[Any]]
    """Rows of interests, among them those that have a mark and whose owners cannot receive messages now."""


def many(pages: Sequence[Page]) -> bool:
    """Whether so many messages are to be marked that others should follow in a call of their own."""
    unsure = _unsure(pages)
    return sum(one.address not in unsure for page in pages for one in page.done.left) >= _MANY


def _unsure(pages: Sequence[Page]) -> set[str]:
    """The addresses where nothing can be marked."""
    closed = {row[_ADDRESS] for page in pages for row in page.closed if not row[_OPEN]}
    return closed.union(*(page.done.held_up for page in pages))


def marks_of(pages: Sequence[Page], end: int | None, now: int) -> Marks | None:
    """What to mark, if anything. `end`: the time of the last message that was read, if there may be more.

    An interest that came after the messages were read gets no mark: without it, too few may have been read, or without
    their data.
    """
    until = _FOR_EVER if end is None else end - 1
    unsure = _unsure(pages)
    read_from = [{row[0]: row[_LEAST] for row in page.messages if row[_LEAST] is not None} for page in pages]
    choices = [set[Wanted]() if page.done.stopped else set(page.done.unmet) for page in pages]
    unmet = choices[0].intersection(*choices[1:])
    messages = sorted(
        (one.address, one.message_id, one.at)
        for page, known in zip(pages, read_from, strict=True)
        for one in page.done.left
        if one.address in known and one.address not in unsure
    )
    interests = sorted(
        (one.owner.name, one.owner.life, one.interest_id, one.address, one.where)
        for one in unmet
        if read_from[0].get(one.address, _FOR_EVER) <= one.compared_to < until and one.address not in unsure
    )
    if not messages and not interests:
        return None
    last = {row[0]: row[_MARKED_AT] or 0 for page in reversed(pages) for row in page.messages}
    addresses = sorted({*(row[0] for row in messages), *(row[3] for row in interests)})
    return Marks(messages, interests, until, [(one, max(last[one] + 1, now), last[one]) for one in addresses])
