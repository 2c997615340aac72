"""Pairing: who gets which message, decided without a database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from romancy.storage.pairing import Copy, Kept, Take, Wanted, copy_id, number, pair
from romancy.storage.query import encode_where, gt, project
from romancy.storage.routing import OUTSIDE, InterestKind, Owner, Spread

A, B = Owner("a", 7), Owner("b", 7)
TAKE, COPY, MEMBER = InterestKind.TAKE, InterestKind.COPY, InterestKind.MEMBER


def kept(message_id: str, spread: Spread = Spread.ONE, at: int = 1, address: str = "x", n: int = 0) -> Kept:
    return Kept(address, message_id, spread, at, project(b'{"n":%d}' % n))


def wanted(owner: Owner, interest_id: str, kind: InterestKind = TAKE, at: int = 1, **fields: object) -> Wanted:
    given: dict[str, object] = {"address": "x", "where": None}
    return Wanted(owner=owner, interest_id=interest_id, kind=kind, at=at, **(given | fields))  # type: ignore[arg-type]


def test_the_oldest_goes_to_the_longest_waiting_whatever_order_they_are_read_in() -> None:
    done = pair([kept("2", at=5), kept("1", at=9)], [wanted(B, "i", at=4), wanted(A, "i", at=6)], limit=9)

    assert done.takes == [Take("x", "2", B, "i"), Take("x", "1", A, "i")]
    assert done.finished == [("x", "2"), ("x", "1")]


def test_of_the_same_time_the_ids_decide() -> None:
    done = pair([kept("2"), kept("1")], [wanted(B, "i"), wanted(A, "j"), wanted(A, "i")], limit=9)

    assert done.takes == [Take("x", "1", A, "i"), Take("x", "2", A, "j")]


def test_who_it_does_not_fit_is_passed_over_and_keeps_waiting() -> None:
    picky = wanted(A, "i", at=1, where=encode_where({"n": gt(5)}))
    done = pair([kept("1", n=1), kept("2", n=9, at=2)], [picky, wanted(B, "i", at=3)], limit=9)

    assert done.takes == [Take("x", "1", B, "i"), Take("x", "2", A, "i")]


def test_what_is_not_searchable_fits_only_who_asks_for_nothing() -> None:
    picky = wanted(A, "i", where=encode_where({"n": None}))
    blank = kept("1")._replace(projection=None)

    assert pair([blank], [picky], limit=9).takes == []
    assert pair([blank], [picky, wanted(B, "i")], limit=9).takes == [Take("x", "1", B, "i")]


def test_an_owner_gets_one_copy_however_many_interests_fit() -> None:
    interests = [wanted(A, "i", COPY), wanted(A, "j", COPY), wanted(B, "i", COPY, at=2)]
    done = pair([kept("1", Spread.EVERY)], interests, limit=9)

    assert done.copies == [Copy("x", "1", A), Copy("x", "1", B)]


def test_a_message_for_every_listener_is_gone_if_there_is_none() -> None:
    done = pair([kept("1", Spread.EVERY), kept("2", Spread.CHANNEL)], [wanted(A, "i", MEMBER)], limit=9)

    assert (done.delivered, done.finished) == (0, [("x", "1")])


def test_a_channel_copies_if_somebody_listens_and_is_taken_from_if_not() -> None:
    messages = [kept("1", Spread.CHANNEL), kept("2", Spread.CHANNEL)]

    assert pair(messages, [wanted(A, "i", COPY), wanted(B, "t")], limit=9).copies == [
        Copy("x", "1", A),
        Copy("x", "2", A),
    ]
    assert pair(messages, [wanted(A, "m", MEMBER), wanted(B, "t")], limit=9).takes == [Take("x", "1", B, "t")]


def test_more_than_a_dispatch_may_deliver_is_left() -> None:
    listeners = [wanted(Owner(f"{n}", 1), "i", COPY) for n in range(3)]
    messages = [kept(f"{n}", Spread.EVERY) for n in range(3)]

    one = pair(messages, listeners, limit=2)
    assert (one.delivered, one.finished, one.stopped) == (3, [("x", "0")], True)
    two = pair(messages, listeners, limit=6)
    assert (two.delivered, len(two.finished), two.stopped) == (6, 2, True)
    assert pair(messages, listeners, limit=9).stopped is False


@given(st.lists(st.sampled_from([0, 5, 50]), min_size=1, max_size=9), st.integers(0, 60))
def test_numbers_go_up_and_are_no_earlier_than_now(nows: list[int], last: int) -> None:
    """Also when the clock of the database goes back."""
    numbers: list[int] = []
    for now in nows:
        done = pair([kept("1", Spread.EVERY), kept("2", Spread.EVERY)], [wanted(A, "i", COPY)], limit=9)
        given = number(done, {"x": last}, now)
        numbers += [given.of["x", "1"], given.of["x", "2"]]
        last = given.last["x"]
        assert numbers[-2] >= now

    assert numbers == sorted(set(numbers))
    ids = [copy_id("x", one) for one in numbers]
    assert ids == sorted(ids)
    assert len({one[-16:] for one in ids}) == 1


def test_only_copies_and_letters_are_numbered() -> None:
    outside = Owner("screen", OUTSIDE)
    done = pair([kept("1"), kept("2")], [wanted(A, "i"), wanted(outside, "i", at=2)], limit=9)

    given = number(done, {}, 100)

    assert (given.of, given.last) == ({("x", "2"): 100}, {"x": 100})
