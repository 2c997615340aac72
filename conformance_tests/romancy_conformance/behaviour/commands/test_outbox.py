"""`romancy outbox`: what waits to be sent, what became of the rest, and sending it again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy import Romancy, WorkflowContext, workflow
from romancy.cli import _relaying
from romancy.storage.backends import create_store
from romancy.storage.outbox import OutboxState, Settled

if TYPE_CHECKING:
    import pytest

    from romancy_conformance.behaviour.commands.buying import Command


@workflow
async def announce_all(ctx: WorkflowContext, names: list[str]) -> None:
    for name in names:
        await ctx.publish("announced", name, key=name)


def prepared(url: str) -> dict[OutboxState, str]:
    """One event of each state, and their ids."""

    async def prepare() -> dict[OutboxState, str]:
        async with Romancy(url, workflows=[announce_all]) as app:
            await app.run(announce_all.options(instance_id="a-1"), [str(state) for state in OutboxState])
        store = create_store(url)
        await store.open()
        given = await store.services.outbox.claim("c", lease=1, limit=10)
        ids = {OutboxState(entry.row.key or ""): entry.row.outbox_id for entry in given.entries}
        ended = [
            Settled(
                outbox_id=one,
                claim="c",
                state=state,
                error=None if state is OutboxState.PUBLISHED else f"HTTP 4{len(state)}",
            )
            for state, one in ids.items()
            if state is not OutboxState.PENDING
        ]
        assert await store.services.outbox.settle(ended) == 4
        await store.close()
        return ids

    return asyncio.run(prepare())


def test_an_outbox_is_counted_listed_queued_again_and_purged(url: str, romancy: Command) -> None:
    ids = prepared(url)

    counted, failed = romancy("outbox"), romancy("outbox", "--state", "failed")
    (record,) = romancy("outbox", "--state", "invalid", "--json").records
    again = romancy("outbox", "--requeue", "--yes")
    named = romancy("outbox", "--requeue", ids[OutboxState.INVALID], ids[OutboxState.PENDING])
    asked = romancy("outbox", "--purge", "--state", "expired")
    young = romancy("outbox", "--purge", "--older-than", "1h")
    purged = romancy("outbox", "--purge", "--yes"), romancy("outbox", "--purge", "--state", "expired", "--yes")
    (left,) = romancy("outbox", "--json").records

    assert [line.split() for line in counted.out.splitlines()[1:]] == [[str(state), "1"] for state in OutboxState]
    assert "the oldest pending event was published" in counted.err
    assert failed.out.splitlines()[0] == ids[OutboxState.FAILED]
    assert "failed after 1 attempt, announced" in failed.out
    assert "by a-1" in " ".join(failed.out.split())
    assert "HTTP 46" in failed.out
    assert all(len(line) <= 80 for line in failed.out.splitlines())
    assert (record["id"], record["error"], record["attempts"]) == (ids[OutboxState.INVALID], "HTTP 47", 1)
    assert "1 event queued again" == again.err.strip()
    assert [f"{ids[OutboxState.PENDING]} is pending, and was left alone", "1 event queued again"] == (
        named.err.splitlines()
    )
    assert 0 == named.code
    assert 0 != asked.code, "what never arrived is not removed without a word"
    assert [answer.err.strip() for answer in (young, *purged)] == [
        "0 events removed", "1 event removed", "1 event removed"
    ]  # fmt: skip
    assert left["states"] == {"pending": 3, "published": 0, "failed": 0, "invalid": 0, "expired": 0}


def test_what_is_done_to_many_is_asked_for_with_their_number(
    url: str, romancy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(url)
    asked: list[str] = []

    def no(question: str, **_: object) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("click.confirm", no)
    answers = [
        romancy("outbox", *arguments)
        for arguments in (
            ("--requeue",),
            ("--requeue", "--state", "invalid", "--state", "expired"),
            ("--purge",),
            ("--purge", "--state", "invalid", "--state", "failed", "--older-than", "0s"),
            ("--purge", "--older-than", "1h"),
        )
    ]
    (left,) = romancy("outbox", "--json").records

    assert asked == [
        "queue 1 event again?",
        "queue 2 events again?",
        "remove 1 event?",
        "remove 2 events (what is invalid or failed has not reached its receiver)?",
    ]
    assert [(answer.code, answer.err.strip()) for answer in answers[:4]] == [(1, "Error: nothing was done")] * 4
    assert (answers[4].code, answers[4].err.strip()) == (0, "0 events removed")
    assert set(left["states"].values()) == {1}


def test_an_unknown_id_is_named(url: str, romancy: Command) -> None:
    ids = prepared(url)

    answer = romancy("outbox", "--requeue", "nope", ids[OutboxState.FAILED], "neither")

    assert answer.code == 3
    assert answer.err.splitlines() == [
        "1 event queued again",
        "Error: there is no event 'nope', 'neither' in the outbox",
    ]


def test_where_nobody_can_answer_nothing_is_done(url: str, romancy: Command) -> None:
    prepared(url)
    answer = romancy("outbox", "--requeue")

    assert answer.code == 1
    assert "nothing was done: there was no answer; --yes answers for you" in answer.err
    assert "1 event" in romancy("outbox", "--requeue", "--yes").err


def test_mistakes_are_told(romancy: Command) -> None:
    for wrong in (
        ("--requeue", "--purge"),
        ("some-id",),
        ("--older-than", "1h"),
        ("--requeue", "--state", "pending"),
        ("--purge", "--state", "pending"),
    ):
        assert romancy("outbox", *wrong).code == 2, wrong


def test_an_event_that_fails_again_at_once_is_queued_again_once(
    url: str, romancy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there were at the beginning are queued again, however fast a relay fails."""
    prepared(url)
    monkeypatch.setattr(_relaying, "_AT_ONCE", 1)
    box = type(create_store(url).services.outbox)
    requeue, calls = box.requeue, list[int]()

    async def fails_again(self: Any, states: Any, /, **options: Any) -> int:
        calls.append(options["limit"])
        count: int = await requeue(self, states, **options)
        given = await self.claim(f"c-{len(calls)}", lease=1, limit=10)
        await self.settle(
            [
                Settled(outbox_id=entry.row.outbox_id, claim=entry.claim or "", state=OutboxState.FAILED)
                for entry in given.entries
            ]
        )
        return count

    monkeypatch.setattr(box, "requeue", fails_again)
    answer = romancy("outbox", "--requeue", "--yes")

    assert "1 event queued again" == answer.err.strip()
    assert [1] == calls
