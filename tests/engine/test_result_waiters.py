"""What the handles of one instance keep of its end."""

from __future__ import annotations

from romancy._access import Access
from romancy.core import RunEnd
from romancy.results.watch import Watch, Watches
from romancy.status import Status

OLD, NEW = RunEnd(status=Status.COMPLETED), RunEnd(status=Status.FAILED)


def test_an_outcome_is_given_once() -> None:
    watch = Watch()
    watch.end(1, OLD)

    assert watch.knows_end(0)
    assert OLD == watch.use()
    assert not watch.knows_end(0)


def test_an_end_that_is_told_after_a_caller_has_read_it_is_not_kept_for_the_next_life() -> None:
    watch = Watch()
    watch.outcome, watch.life = OLD, 1  # a caller has read it from the database
    watch.use()

    watch.end(1, OLD)
    late = watch.outcome
    watch.end(2, NEW)

    assert [None, NEW] == [late, watch.use()]


def test_an_end_is_not_for_handles_that_were_made_after_it() -> None:
    watch = Watch()
    watch.end(1, OLD)

    assert not watch.knows_end(watch.recorded)
    assert watch.outcome is None


def test_watches_that_no_handle_holds_are_let_go() -> None:
    watches = Watches(Access())
    held = [watches.of(str(number)) for number in range(3)]
    for number in range(10_000):
        watches.of(f"left {number}")

    assert len(vars(watches)["_by_id"]) < 2_500
    assert held == [watches.of(str(number)) for number in range(3)]
