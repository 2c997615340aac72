"""Open instances by workflow, where a limit leaves some uncounted."""

from __future__ import annotations

from romancy.status import Status
from romancy.storage.figures import Oldest, OpenWork, OpenWorkflow, open_work_from

LIMIT = 2


def test_a_workflow_may_have_more_of_a_status_of_which_none_of_its_own_was_counted() -> None:
    """`ship` may have started a waiting instance at 300. It is behind the two oldest waiting ones, both of `pay`."""
    found = open_work_from([("pay", "waiting", LIMIT, 100, 0), ("ship", "running", 1, 500, 0)], LIMIT)

    assert (
        OpenWork(
            {("pay", Status.WAITING): Oldest(2, 100), ("ship", Status.RUNNING): Oldest(1, 500)},
            frozenset({Status.WAITING}),
        )
        == found
    )
    assert [
        OpenWorkflow(100, "pay", {Status.WAITING: 2}, more=True),
        OpenWorkflow(500, "ship", {Status.RUNNING: 1}, more=True),
    ] == found.by_workflow()


def test_without_a_limit_that_was_reached_every_number_is_whole() -> None:
    found = open_work_from([("pay", "waiting", 1, 100, 0), ("ship", "running", 1, 500, 0)], LIMIT)

    assert not any(each.more for each in found.by_workflow())
