"""What is said of an instance that may be ending its workers, and of an activity of it that does not run."""

from __future__ import annotations

import pytest
from msgspec import Raw

from romancy.core import ActivityAttemptFailed, ActivityScheduled, LogEvent, OwnerChanged, WorkflowStarted
from romancy.insight import Note, Timeline, explain, suspects_of
from romancy.insight._suspicion import Suspects
from romancy.serialization import ErrorInfo
from romancy.status import Status
from romancy.storage.records import Census, Host, InstanceRow, Peer

SECOND = 1_000_000
NOW = 1_000 * SECOND
BEGUN: list[LogEvent] = [
    WorkflowStarted(at=0, workflow="w", input=Raw(b"{}"), nonce="n"),
    ActivityScheduled("book:1", "book", Raw(b"{}")),
]
LOST: list[LogEvent] = [OwnerChanged(at=at * SECOND, owner="w") for at in (100, 200)]
TRIED = OwnerChanged(at=990 * SECOND, owner="w", alone=True, tried="i")
FATAL: list[LogEvent] = [
    OwnerChanged(at=300 * SECOND, owner="w", alone=True, tried="i"),
    OwnerChanged(at=301 * SECOND, owner="w", tried="i"),
]


def peer(*codes: str, dead: bool = False, beat_at: int = NOW) -> Peer:
    return Peer(
        token="w", worker_id="the-worker", lease=30 * SECOND, beat=1, dead=dead, codes=("c", "workflow=w", *codes),
        host=Host(), started_at=0, beat_at=beat_at,
    )  # fmt: skip


def told(*events: LogEvent, worker: Peer, owner: str | None = "w") -> str:
    row = InstanceRow(
        instance_id="i", life=1, workflow_name="w", status=Status.RUNNING, code="c", run_from=1, last_seq=3,
        owner=owner, created_at=0, updated_at=0, input=Raw(b"{}"),
    )  # fmt: skip
    return " ".join(explain(row, Timeline.of([*BEGUN, *events]), Census(now=NOW, workers=[worker])))


def test_an_activity_of_a_suspect_that_waits_does_not_run() -> None:
    said = told(*LOST, worker=peer("suspects=5", "tried=other"))

    assert (
        "It is suspected of ending its workers: 2 workers in a row were lost with it. It waits for its turn, " in said
    )
    assert (
        "one of 5: its worker lives for a while without it, and suspects begin one after another (now: other)." in said
    )
    assert "Its activity book (book:1) does not run while it is suspected." in said
    assert "at work" not in said


def test_so_does_not_one_that_is_tried_again() -> None:
    failed = ActivityAttemptFailed(SECOND, "book:1", 1, ErrorInfo("E", "no"), 2 * SECOND)

    assert "does not run while it is suspected." in told(failed, *LOST, worker=peer("suspects=1"))


def test_of_one_that_is_tried_it_says_since_when() -> None:
    said = told(*LOST, *FATAL, TRIED, worker=peer("suspects=5", "tried=i"))

    assert "3 workers in a row were lost with it, 1 of them while they tried it. It is being tried since " in said
    assert "Its activity book (book:1) has been at work for 10 s." in said


def test_one_that_nobody_holds_is_tried_by_the_next_worker() -> None:
    said = told(*LOST, worker=peer(), owner=None)

    assert "The next worker that takes it tries it." in said


@pytest.mark.parametrize(
    ("events", "codes"),
    [(LOST[:1], ["suspects=5"]), ([*LOST, OwnerChanged(at=1, code="c", alone=True)], ["suspects=5"]), (LOST, [])],
    ids=["one death", "survived", "its worker suspects none"],
)
def test_of_others_nothing_is_said(events: list[LogEvent], codes: list[str]) -> None:
    said = told(*events, worker=peer(*codes))

    assert "suspected" not in said
    assert "has been at work for 16 min 40 s" in said


def test_a_log_tells_of_a_survived_trial() -> None:
    entries = Timeline.of([*BEGUN, *LOST, TRIED, OwnerChanged(at=NOW, code="c", alone=True)]).entries

    assert isinstance(entries[-1], Note)
    assert entries[-1].text == "survived its trial"


def test_only_living_workers_are_counted() -> None:
    peers = [
        peer("suspects=5", "tried=i"), peer("suspects=1"), peer("suspects=7", dead=True), peer("suspects=7", beat_at=0)
    ]  # fmt: skip

    assert suspects_of(Census(now=NOW, workers=peers)) == Suspects(6, ("i",))
    assert suspects_of(Census(now=NOW, workers=[peer()])).number == 0


def test_suspects_are_told_in_one_sentence() -> None:
    assert Suspects(1).sentence == (
        "1 instance is suspected of ending workers: one begins after another, and nothing else waits for them"
    )
    assert Suspects(2, ("a", "b")).sentence.endswith("nothing else waits for them; now a and b")
