"""`romancy undelivered` lists messages that no workflow has received, sends them to present waits, and removes them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Raw
from msgspec.structs import replace

from romancy import Romancy, Status, WorkflowContext, workflow
from romancy.core import Message, Topic
from romancy.engine.messages import encode_message
from romancy.storage.backends import create_store
from romancy.storage.routing import (
    OUTSIDE,
    Interest,
    InterestKind,
    Owner,
    Place,
    Posting,
    Spread,
    address_of_channel,
    address_of_key,
)
from romancy_conformance.behaviour.cast import returns, waits
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.commands.buying import Command

LONG_KEY = "k" * 300


def sent(url: str) -> None:
    """Three events and a message of a channel without receivers, and an event that was received."""

    async def send() -> None:
        async with Romancy(url, workflows=[waits]) as app:
            await app.send("paid", 1, key="o-1", id="e-1", source="/shop")
            await app.send("paid", 2, key=LONG_KEY, id="e-2")
            await app.send("sent", {"by": "sea"}, key="o-1", id="e-3")
            await app.channel("jobs").publish([3])
            await app.send("paid", 9, key="o-9")
            assert await app.run(waits, "paid", "o-9") == 9

    asyncio.run(send())


def test_what_nobody_has_asked_for_is_listed_until_somebody_does(url: str, romancy: Command) -> None:
    sent(url)

    listed, records = romancy("undelivered"), romancy("undelivered", "--json").records
    paid, one = romancy("undelivered", "--type", "paid"), romancy("undelivered", "--type", "paid", "--key", LONG_KEY)
    jobs, two = romancy("undelivered", "--channel", "jobs"), romancy("undelivered", "--limit", "2")
    none = romancy("undelivered", "--type", "pai")

    events = {record["id"]: record for record in records if record["type"]}
    (job,) = [record for record in records if record["channel"]]
    assert {"e-1", "e-2", "e-3"} == events.keys()
    assert {name: events["e-1"][name] for name in ("type", "key", "source", "data", "sealed")} == {
        "type": "paid", "key": "o-1", "source": "/shop", "data": 1, "sealed": False
    }  # fmt: skip
    assert (job["channel"], job["data"]) == ("jobs", [3])
    assert "event paid, key o-1, from /shop, " in listed.out
    assert "    channel jobs, " in listed.out
    assert all(len(line) <= 80 for line in listed.out.splitlines())
    assert [line for line in paid.out.splitlines() if line[0] != " "] == ["e-1", "e-2"]
    assert [line for line in one.out.splitlines() if line[0] != " "] == ["e-2"]
    assert jobs.out.splitlines()[0] == job["id"]
    assert "--limit shows more" in two.err
    assert ("", "nothing of this choice is undelivered") == (none.out, none.err.strip())


@workflow
async def sends_too_late(ctx: WorkflowContext) -> None:
    await ctx.send("assigned", "resource_a", to="gone-1", key="k")
    await ctx.channel("notes").send_to("gone-1", 7)


def test_what_was_sent_to_an_instance_that_had_ended_is_listed(url: str, romancy: Command) -> None:
    async def send() -> None:
        async with Romancy(url, workflows=[returns, sends_too_late]) as app:
            await app.run(returns.options(instance_id="gone-1"))
            await app.run(sends_too_late.options(instance_id="pool"))

    asyncio.run(send())
    listed, records = romancy("undelivered"), romancy("undelivered", "--json").records
    chosen = {
        options: romancy("undelivered", *options).out.count("gone-1")
        for options in (
            ("--type", "assigned"),
            ("--type", "assigned", "--key", "k"),
            ("--type", "assigned", "--key", "other"),
            ("--type", "other"),
            ("--channel", "notes"),
            ("--channel", "other"),
        )
    }

    said = " ".join(listed.out.split())
    assert "event assigned, key k, from /sends_too_late/pool, " in said
    assert "channel notes, by pool, " in said
    assert said.count("sent to gone-1, which had ended or did not exist") == 2
    assert [record["instance_id"] for record in records] == ["gone-1", "gone-1"]
    assert list(chosen.values()) == [1, 1, 0, 0, 1, 0]
    assert "0 messages sent to waiting receivers" in romancy("undelivered", "--send").err
    assert "2 messages removed" in romancy("undelivered", "--purge", "--older-than", "0s", "--yes").err


def test_what_a_crash_left_undone_is_sent_at_once(url: str, romancy: Command) -> None:
    """Both sides have committed without a dispatch: a sender and its workers died."""

    async def leave() -> None:
        async with Romancy(url, workflows=[waits]) as app:
            await app.start(waits.options(instance_id="t-1"), "paid", "o-1")
            await status_is(app, "t-1", Status.WAITING)
        store = create_store(url)
        await store.open()
        for key in ("o-1", "o-2"):
            place = Place(address_of_key("paid", key), Spread.ONE)
            body = encode_message(Message(topic=Topic("paid", key), data=Raw(b"5")))
            posting = Posting(message_id=f"m-{key}", places=(place,), body=body)
            await store.services.router.post([posting])
        await store.close()

    asyncio.run(leave())
    answers = [romancy("undelivered", "--send").err.strip() for _ in range(2)]
    left = romancy("undelivered").out

    async def received() -> Any:
        async with Romancy(url, workflows=[waits]) as app:
            return await app.handle("t-1", waits).result(timeout=60)

    assert ["1 message sent to waiting receivers", "0 messages sent to waiting receivers"] == answers
    assert left.startswith("m-o-2\n    event paid, key o-2, ")
    assert len(left.splitlines()) == 2
    assert asyncio.run(received()) == 5


def test_what_cannot_be_sent_is_said_with_the_reason(url: str, romancy: Command) -> None:
    """The conditions of the wait were written by a newer version."""
    newer = Interest(
        interest_id="newer", address=address_of_key("paid", "o-1"), kind=InterestKind.TAKE, where=b'{"all":[{"new":1}]}'
    )

    async def prepare() -> None:
        async with Romancy(url, workflows=[], worker=False) as app:
            await app.send("paid", 5, key="o-1")
            await app.send("paid", 6, key="o-2")
        store = create_store(url)
        await store.open()
        await store.services.router.register(Owner("newer", OUTSIDE), newer)
        await store.services.router.register(
            Owner("other", OUTSIDE), replace(newer, address="k/4/paid/o-2", where=None)
        )
        await store.close()

    asyncio.run(prepare())
    said = romancy("undelivered", "--send")

    assert said.code == 0
    reason, count = said.err.strip().splitlines()
    assert reason.startswith("k/4/paid/o-1: the conditions of an interest cannot be read")
    assert count == "1 message sent to waiting receivers"


def test_old_ones_are_removed_when_it_is_confirmed(url: str, romancy: Command) -> None:
    sent(url)

    asked = romancy("undelivered", "--purge", "--older-than", "0s")
    young = romancy("undelivered", "--purge", "--older-than", "1h", "--yes")
    gone = romancy("undelivered", "--purge", "--older-than", "0s", "--yes")

    assert 0 != asked.code
    assert ["0 messages removed", "4 messages removed"] == [young.err.strip(), gone.err.strip()]
    left = romancy("undelivered")
    assert ("", "nothing is undelivered") == (left.out, left.err.strip())


def test_what_a_codec_has_sealed_is_said_to_be(url: str, romancy: Command) -> None:
    async def send() -> None:
        async with Romancy(url, workflows=[], codecs=[Masking()], worker=False) as app:
            await app.channel("jobs").publish("swordfish")

    asyncio.run(send())
    (record,), listed = romancy("undelivered", "--json").records, romancy("undelivered")

    assert (record["sealed"], record["data"], record["channel"]) == (True, None, None)
    assert f"sealed by a codec (give --app), at {address_of_channel('jobs')}" in listed.out
    assert "swordfish" not in listed.out


def test_mistakes_are_told(romancy: Command) -> None:
    for wrong in (
        ("--key", "k"),
        ("--type", "t", "--channel", "c"),
        ("--send", "--purge"),
        ("--purge",),
        ("--older-than", "1h"),
        ("--purge", "--older-than", "1h", "--type", "t"),
        ("--purge", "--older-than", "1h", "--channel", "c"),
    ):
        assert romancy("undelivered", *wrong).code == 2, wrong
    chosen = romancy("undelivered", "--purge", "--channel", "c").err
    assert "--purge removes all that is old enough; leave out --type, --key and --channel" in chosen
