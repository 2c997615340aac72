"""Posted messages under a codec that binds each payload to its place: every receiver can open its message or copy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy.engine import coded
from romancy.serialization import Codecs, is_sealed
from romancy.storage.backends import create_store
from romancy.storage.records import Append, ClaimRequest, Worker
from romancy.storage.routing import OUTSIDE, Interest, InterestKind, Owner, Place, Posting, Spread
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

BODY = b'{"type":"secret"}'
PLACES = (Place("k", Spread.ONE), Place("e", Spread.EVERY))
OUTER = Owner("screen", OUTSIDE)


def posting(message_id: str) -> Posting:
    return Posting(message_id=message_id, places=PLACES, body=BODY)


async def listening(store: Store) -> None:
    """Two instances and a subscriber outside; one instance takes by key, the others listen."""
    await store.open()
    await store.heartbeat(Worker(token="w", worker_id="w", lease=1_000_000))
    for name, kind, address in (("a", InterestKind.TAKE, "k"), ("b", InterestKind.COPY, "e")):
        first = start(
            instance_id=name, life=1, workflow_name="wf", code="c", writer=name, body=b"[]", input=b"null", owner="w"
        )
        want = Interest(interest_id="i", address=address, kind=kind)
        item = Append(instance_id=name, life=1, seq=2, writer=f"{name}2", body=b"[]", interests=(want,))
        assert await store.commit([first]) == await store.commit([item], worker="w") == ["accepted"]
    await store.services.router.register(OUTER, Interest(interest_id="i", address="e", kind=InterestKind.COPY))


async def inboxes(store: Store) -> dict[str, list[bytes]]:
    request = ClaimRequest(worker="w", codes={"wf": "c"}, limit=0, known={"a": -1, "b": -1})
    return {box.instance_id: [row.body for row in box.rows] for box in (await store.claim(request)).mail}


def test_the_taker_the_listener_and_the_subscriber_outside_open_it() -> None:
    async def play() -> None:
        raw = create_store("memory://bound")
        store = coded(raw, Codecs(Masking()))
        await listening(store)
        assert await store.services.router.post([posting("1"), posting("2")]) == ["accepted"] * 2
        ((stored, _), (kept, _)) = (
            await raw.services.router.kept(address="k"),
            await store.services.router.kept(address="k"),
        )
        assert (BODY in stored.body, kept.body) == (False, BODY)

        await store.services.router.dispatch(["k", "e"])

        assert await inboxes(store) == {"a": [BODY], "b": [BODY, BODY]}
        assert [letter.body for letter in await store.services.router.letters("screen")] == [BODY, BODY]
        assert [letter.body == BODY for letter in await raw.services.router.letters("screen")] == [False, False]
        without = coded(raw, Codecs())
        (bodies, *_) = (await inboxes(without)).values()
        assert is_sealed(bodies[0], "message"), "who has no codec sees what it is"

    asyncio.run(play())


def test_what_a_commit_posts_is_sealed_and_what_no_codec_changes_stays_as_it_is() -> None:
    async def play() -> None:
        raw = create_store("memory://bound-commits")
        store = coded(raw, Codecs(Masking()))
        await listening(store)
        item = Append(instance_id="a", life=1, seq=3, writer="3", body=b"[]", postings=(posting("1"),))
        assert await store.commit([item], worker="w") == ["accepted"]
        (kept,) = await raw.services.router.kept(address="k")
        assert BODY not in kept.body

        plain = coded(raw, Codecs())
        assert await plain.services.router.post([posting("2")]) == ["accepted"]
        (kept,) = await raw.services.router.kept(address="k", after="1")
        assert kept.body == BODY

    asyncio.run(play())
