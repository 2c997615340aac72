"""The layer that encodes bodies: it costs nothing without codecs, and what every process must read stays plain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy.core import OwnerChanged, TimerFired, encode_commit
from romancy.engine import coded
from romancy.serialization import Codecs, PayloadContext, is_sealed
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import Append, Change, ClaimRequest, Step, Worker
from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from romancy.storage.protocol import Store


class Flipping:
    """Inverts every bit."""

    id = "flip"

    def encode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        return bytes(byte ^ 255 for byte in data)

    decode = encode


def test_without_codecs_what_is_written_goes_straight_to_the_store() -> None:
    store = create_store("memory://straight")
    plain = coded(store, Codecs())

    assert (plain.commit, plain.deliver) == (store.commit, store.deliver)
    assert plain.services.sessions is store.services.sessions


def append(seq: int, body: bytes, change: Change) -> Append:
    return Append(instance_id="x", life=5, seq=seq, writer=f"w.{seq}", body=body, change=change)


async def written(store: Store) -> list[bytes]:
    history = await store.read("x")
    assert history is not None
    return [history.instance.input, *(row.body for row in history.rows)]


def test_only_what_tells_something_is_sealed_and_a_refusal_is_that_of_the_codecs() -> None:
    first, fired = encode_commit([TimerFired(at=1, id="t")]), encode_commit([TimerFired(at=2, id="t")])
    owned = encode_commit([OwnerChanged(at=2, owner="w")])

    async def play() -> None:
        raw = create_store("memory://sealed")
        await raw.open()
        store = coded(raw, Codecs(Flipping()))
        await raw.heartbeat(Worker(token="w", worker_id="w", lease=1_000_000))
        item = start(
            instance_id="x",
            life=5,
            workflow_name="wf",
            code="1",
            writer="w.1",
            body=first,
            input=b'"in"',
            owner="w",
            status=Status.RUNNING,
        )
        await store.commit([item], worker="w")
        await store.commit([Step("x", 5, 2, "w.2", owned)], worker="w")
        parked = Change(status=Status.STUCK, seen=0, release=True, refused_by="1")
        await store.commit([append(3, fired, parked)], worker="w")

        assert await written(store) == [b'"in"', first, owned, fired]
        sealed_input, sealed_start, plain, sealed = await written(raw)
        assert is_sealed(sealed_input, "input")
        assert is_sealed(sealed_start, "commit")
        assert is_sealed(sealed, "commit")
        assert plain == owned
        again = ClaimRequest(worker="w", codes={"wf": "1"}, limit=1, sweep=True)
        assert (await store.claim(again)).claimed == []
        assert [one.instance_id for one in (await raw.claim(again)).claimed] == ["x"]
        await raw.close()

    asyncio.run(play())
