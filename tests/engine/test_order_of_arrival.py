"""The order in which messages are taken in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from romancy.engine.inbox import in_order_of_arrival
from romancy.engine.messages import PauseMessage, UnpauseMessage, encode_message
from romancy.engine.pausing import Wish, wish_in
from romancy.storage.records import InboxRow

ANN, BOB = "a" * 16, "b" * 16


def row(number: int, sender: str, at: int) -> InboxRow:
    return InboxRow(f"{number:016x}{sender}", b"", at)


def test_messages_of_several_senders_stand_as_they_came() -> None:
    rows = [row(1, ANN, 10), row(1, BOB, 30), row(2, ANN, 40), row(2, BOB, 20)]

    assert [rows[0], rows[1], rows[3], rows[2]] == in_order_of_arrival(rows), "Bob's clock went back"
    assert rows[:1] == in_order_of_arrival(rows[:1])


def test_the_last_request_about_a_pause_is_that_which_its_sender_made_last() -> None:
    pause, unpause = encode_message(PauseMessage(reason="now", life=1)), encode_message(UnpauseMessage(life=1))
    asked = [(1, ANN, 10, pause), (2, ANN, 20, unpause), (3, ANN, 15, pause)]  # the database's clock was set back
    rows = [InboxRow(f"{number:016x}{sender}", body, at) for number, sender, at, body in asked]

    ids = tuple(one.delivery_id for one in rows)
    assert wish_in(rows, 1) == Wish(pause=True, reason="now", delivery_ids=ids, is_cancelled=False)


@given(st.lists(st.tuples(st.integers(1, 99), st.sampled_from([ANN, BOB, "c" * 16]), st.integers(0, 9)), max_size=30))
def test_no_sender_is_overtaken_by_himself_and_nobody_is_lost(messages: list[tuple[int, str, int]]) -> None:
    rows = sorted((row(*one) for one in messages), key=lambda one: one.delivery_id)

    ordered = list(in_order_of_arrival(rows))

    assert sorted(map(id, rows)) == sorted(map(id, ordered))
    for sender in (ANN, BOB, "c" * 16):
        ids = [one.delivery_id for one in ordered if one.delivery_id.endswith(sender)]
        assert ids == sorted(ids)
