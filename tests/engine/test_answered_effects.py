"""After a replay, what is answered by an input that will be fed again is not asked for once more."""

from __future__ import annotations

from msgspec import Raw

from romancy.core import Message, MessageAwaited, MessageReceived, Topic, mode_of_wait
from romancy.engine.activities.ends import unanswered

TOPIC = Topic("orders")


def awaited(wait_id: str) -> MessageAwaited:
    return MessageAwaited(wait_id, TOPIC, mode_of_wait(TOPIC))


def test_a_wait_whose_message_was_taken_gets_no_other_one() -> None:
    """A newer message would be matched with this wait, and the one after it with the next wait."""
    first, second = awaited("orders:1"), awaited("orders:2")
    taken = MessageReceived(at=1, id="orders:1", message=Message(TOPIC, Raw(b"1")))

    assert unanswered([first, second], [(taken, None)]) == [second]
    assert unanswered([first, second], []) == [first, second]
