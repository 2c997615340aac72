"""Messages that are large together come in several commits, because one has no room for them."""

from __future__ import annotations

import pytest
from msgspec import Raw

from romancy.core import ActivityFailed, Message, MessageReceived, Topic, encode_commit
from romancy.engine.decide import how_many_fit
from romancy.serialization import ErrorInfo
from romancy.storage.limits import MAX_EVENT_BYTES

LARGE = Raw(b'"' + b"x" * 1_500_000 + b'"')
ORDERS = Topic("orders", kind="channel")


@pytest.mark.parametrize(
    "message",
    [
        Message(ORDERS, LARGE),
        Message(ORDERS, Raw(b"1"), beside=LARGE),
        Message(Topic("paid", "k" * 1_500_000), Raw(b"1")),
        Message(Topic("paid"), Raw(b"1"), subject="s" * 1_500_000),
        Message(Topic("paid"), Raw(b"1"), headers={"x": "\0" * 300_000}),
    ],
    ids=["data", "metadata", "key", "subject", "headers"],
)
def test_all_that_a_message_brings_counts_as_its_data_does(message: Message) -> None:
    received = [(MessageReceived(0, f"orders:{number}", message), None) for number in range(3)]

    assert 1 == how_many_fit(received)


def test_small_messages_come_in_one_commit() -> None:
    small = Message(ORDERS, Raw(b"1"), beside=Raw(b"{}"))

    assert 3 == how_many_fit([(MessageReceived(0, f"orders:{number}", small), None) for number in range(3)])


def test_ten_thousand_small_inputs_fit_into_commits_too() -> None:
    message = Message(Topic("paid"), Raw(b"1"), headers={"traceparent": "00-" + "a" * 32})
    received = [(MessageReceived(0, f"paid:{number}", message), None) for number in range(50_000)]

    fitting = how_many_fit(received)

    assert 10_000 < fitting < 50_000
    assert len(encode_commit([event for event, _ in received[:fitting]])) <= MAX_EVENT_BYTES


def test_the_errors_of_activities_count() -> None:
    error = ErrorInfo(type="ValueError", message="x" * 1_500_000)

    assert 1 == how_many_fit([(ActivityFailed(0, f"pay:{number}", error, 1), None) for number in range(3)])
