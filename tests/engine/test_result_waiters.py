"""What the handles of one instance keep of its end."""

from __future__ import annotations

from romancy.core import RunEnd
from romancy.results.watch import Watch
from romancy.status import Status

OLD, NEW = RunEnd(status=Status.COMPLETED), RunEnd(status=Status.FAILED)


def test_an_outcome_is_given_once() -> None:
    watch = Watch()
    watch.end(1, OLD)

    assert [OLD, None] == [watch.use(), watch.use()]


def test_an_end_that_is_told_after_a_caller_has_read_it_is_not_kept_for_the_next_life() -> None:
    watch = Watch()
    watch.outcome, watch.life = OLD, 1  # a caller has read it from the database
    watch.use()

    watch.end(1, OLD)
    late = watch.use()
    watch.end(2, NEW)

    assert [None, NEW] == [late, watch.use()]
