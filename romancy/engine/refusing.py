"""Turns kept mail into inputs where the body may refuse a message before it is recorded.

The body is asked in the state that it has when the message is next: everything that was fed before has been acted on.
So a message about which it is asked begins an append, or follows others that were refused, which change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import Message, RequestRefused
from romancy.engine.message_inputs import input_from_message
from romancy.engine.messages import TerminateMessage

if TYPE_CHECKING:
    from romancy.core import MessageAwaited
    from romancy.engine.inbox import Mail
    from romancy.engine.instance import Live

__all__ = ["sort_judged"]


def sort_judged(live: Live) -> Mail | None:
    """Give the run the mail that fits its state and that its body takes. Returns a request to terminate it.

    Raises UsageError if the body does more than look at a message.
    """
    live.inbox.put_off = False
    while _one_round(live):
        pass
    if live.inbox.pressing:
        return next((mail for mail in live.inbox.mail() if isinstance(mail.message, TerminateMessage)), None)
    return None


def _one_round(live: Live) -> bool:
    """Match the mail once. Returns whether a wait whose message was refused is open for the next one."""
    waits, refused = live.run.state.waits, False
    put_off: list[tuple[Mail, MessageAwaited]] = []
    for mail, wait_id in live.inbox.match():
        wait, message = waits.get(wait_id), mail.message
        if wait is None or not isinstance(message, Message):
            event = input_from_message(message, mail.at, wait_id, mail.posted_at)
            if event is not None:
                live.give(event, mail)
            else:
                live.keep(mail)
        elif put_off or (wait.judged and not _changes_nothing(live)):
            put_off.append((mail, wait))
        elif wait.judged and (error := live.run.refusal_of(wait_id, message)) is not None:
            refusal = RequestRefused(at=mail.at, id=message.id, name=message.topic.name, error=error)
            live.give(refusal, mail)
            live.inbox.wait(wait)
            refused = True
        elif (event := input_from_message(message, mail.at, wait_id, mail.posted_at)) is not None:
            live.give(event, mail)
    if put_off:
        live.inbox.take_back(put_off)
        live.inbox.put_off = True
    return refused and not put_off


def _changes_nothing(live: Live) -> bool:
    """Whether the body's state is that before everything that waits to be fed."""
    return all(isinstance(event, RequestRefused) for event, _ in live.inputs)
