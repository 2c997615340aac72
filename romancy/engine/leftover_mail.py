"""Mail that was read for an instance and that no append has consumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.core import Input
    from romancy.engine.inbox import Given
    from romancy.engine.instance import Live

__all__ = ["too_late"]


def too_late(live: Live, inputs: Sequence[Given], dropped: Sequence[Input]) -> tuple[str, ...]:
    """The ids of mail, except messages of users, that reached a run too late because it has just ended.

    A retry of the run must not find it.
    """
    if not (dropped or live.inputs):
        return ()
    ids = {id(event) for event in dropped}
    late = [mail for event, mail in inputs if id(event) in ids]
    mails = (*late, *(mail for _, mail in live.inputs))
    return tuple(mail.delivery_id for mail in mails if mail is not None and not isinstance(mail.message, Message))
