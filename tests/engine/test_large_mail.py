"""Messages that are large together come in several commits, because one has no room for them."""

from __future__ import annotations

import pytest
from msgspec import Raw

from romancy.core import Message, MessageReceived, Topic
from romancy.engine.decide import how_many_fit

LARGE = Raw(b'"' + b"x" * 1_500_000 + b'"')
ORDERS = Topic("orders", kind="channel")


@pytest.mark.parametrize(
    "message",
    [Message(ORDERS, LARGE), Message(ORDERS, Raw(b"1"), beside=LARGE)],
    ids=["data", "metadata"],
)
def test_the_metadata_of_messages_counts_as_their_data_does(message: Message) -> None:
    received = [(MessageReceived(0, f"orders:{number}", message), None) for number in range(3)]

    assert 1 == how_many_fit(received)


def test_small_messages_come_in_one_commit() -> None:
    small = Message(ORDERS, Raw(b"1"), beside=Raw(b"{}"))

    assert 3 == how_many_fit([(MessageReceived(0, f"orders:{number}", small), None) for number in range(3)])
