"""Mail that was read for an instance and that no append has consumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from romancy.engine.inbox import Mail
from romancy.engine.messages import KEPT

if TYPE_CHECKING:
    from romancy.core import Input
    from romancy.engine.instance import Live
    from romancy.engine.pending_append import Given, PendingAppend

__all__ = ["NOTHING_READ", "Unread", "put_back", "requests", "too_late", "unread"]


@dataclass(frozen=True, slots=True)
class Unread:
    """Mail that was read here and that is still in the database."""

    mails: Sequence[Mail] = ()
    """No wait fits it, or its input is not in the log."""
    unused: tuple[str, ...] = ()
    """The ids of messages that no run of the instance can use."""


NOTHING_READ: Final = Unread()


def unread(prepared: PendingAppend) -> Unread:
    """The mail of the instance whose append was refused. The append would have removed a part of it."""
    live = prepared.live
    fed = (mail for _, mail in (*live.inputs, *prepared.inputs) if mail is not None)
    mails = {mail.delivery_id: mail for mail in (*live.inbox.mail(), *fed)}
    return Unread(tuple(mails.values()), live.unused)


def too_late(live: Live, inputs: Sequence[Given], dropped: Sequence[Input]) -> tuple[str, ...]:
    """The ids of mail, except signals, that reached a run too late because it has just ended.

    A retry of the run must not find it.
    """
    ids = {id(event) for event in dropped}
    late = [mail for event, mail in inputs if id(event) in ids]
    mails = (*late, *(mail for _, mail in live.inputs))
    return tuple(mail.delivery_id for mail in mails if mail is not None and not isinstance(mail.message, KEPT))


def put_back(live: Live, mails: Sequence[Mail]) -> None:
    """Keep mail again that was taken from the inbox, with the mail of inputs that will not be fed."""
    for mail in (*mails, *(mail for _, mail in live.inputs if mail is not None)):
        if mail.delivery_id not in live.inbox:
            live.keep(mail)


def requests(live: Live) -> tuple[str, ...]:
    """The ids of mail, except signals, that a terminated run leaves. A retry of the run must not find it."""
    kept = tuple(mail.delivery_id for mail in live.inbox.mail() if not isinstance(mail.message, KEPT))
    return (*kept, *(one for one in live.unused if one not in kept))
