"""Chooses the mailboxes in one answer to a claim: a bounded amount of mail, the same on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.records import ClaimRequest

__all__ = ["MAX_MAIL_BYTES", "UNCOUNTED", "Waiting", "choose_mail", "left_out"]

MAX_MAIL_BYTES = 8 * 1024 * 1024
"""Upper bound on the mail in one answer, unless a single mailbox is larger."""

UNCOUNTED = 2**63 - 1
"""The number of a message that its instance's counter does not cover yet, or that has not been numbered.

Any other number is above the counter before the message was counted, and at most the counter after that. A reader that
got a counter, and holds the messages up to it, lacks only messages with higher numbers.
"""


class Waiting(Struct, frozen=True):
    """A candidate mailbox: its instance has unseen mail, was just claimed, or its mail is unknown."""

    instance_id: str
    signals: int
    size: int
    """Bytes of its messages, counted before any message is read."""
    fresh: bool


def left_out(request: ClaimRequest, instance_id: str, signals: int, *, fresh: bool) -> int:
    """The number up to which messages are left out. 0 for a fresh claim, or if the counter has gone back."""
    kept = 0 if fresh else request.kept.get(instance_id, 0)
    return kept if 0 < kept <= signals else 0


def choose_mail(waiting: Iterable[Waiting], request: ClaimRequest) -> tuple[list[str], bool]:
    """The instances whose mail to read now, and whether some is left for the next claim.

    Mail that the worker already has is left out. Instances that were claimed earlier come first: they have waited
    longer.
    """
    wanted = [one for one in waiting if one.fresh or request.known.get(one.instance_id) != one.signals]
    if len(wanted) > 1:
        wanted.sort(key=lambda one: (one.fresh, request.known.get(one.instance_id, 0) >= 0, one.instance_id))
    chosen: list[str] = []
    size = 0
    for one in wanted:
        size += one.size
        if chosen and one.size and size > MAX_MAIL_BYTES:
            return chosen, True
        chosen.append(one.instance_id)
    return chosen, False
