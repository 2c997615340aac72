"""The declaration of a relay, and what it does when the outbox or the sender fails in unusual ways."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import pytest
from msgspec import Raw

from romancy import RetryPolicy, Romancy
from romancy.engine import outgoing
from romancy.errors import StorageUnavailableError, UsageError
from romancy.outbox import OutboxEvent, Relay, Retry
from romancy.outbox.running import Relaying
from romancy.storage.memory import MemoryStore
from romancy.storage.outbox import Consignment, OutboxEntry, OutboxRow, OutboxState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from romancy.storage.outbox import Settled

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Relays run on asyncio."""
    return "asyncio"


class Sender:
    """Does what it is told to."""

    def __init__(self, act: Callable[[OutboxEvent], Coroutine[Any, Any, None]] | None = None) -> None:
        self.act = act
        self.sent: list[OutboxEvent] = []

    async def send(self, event: OutboxEvent, /) -> None:
        self.sent.append(event)
        if self.act is not None:
            await self.act(event)


class Box:
    """An outbox that holds these rows and notes what becomes of them."""

    def __init__(self, *rows: OutboxRow, troubles: Sequence[Exception] = ()) -> None:
        self.entries = [
            OutboxEntry(row=row, at=0, queued_at=0, next_at=0, claim="c", attempts=number)
            for number, row in enumerate(rows)
        ]
        self.troubles = list(troubles)
        self.settled: list[Settled] = []
        self.enough = asyncio.Event()
        self.most = 0

    async def claim(self, claim: str, /, *, lease: int, limit: int, sweep: bool = False) -> Consignment:
        if self.troubles:
            raise self.troubles.pop(0)
        self.most = max(self.most, limit)
        given, self.entries = self.entries[:limit], self.entries[limit:]
        return Consignment(entries=given, now=0, more=bool(self.entries))

    async def settle(self, batch: Sequence[Settled], /) -> int:
        if self.troubles:
            raise self.troubles.pop(0)
        self.settled += batch
        self.enough.set()
        return len(batch)

    async def wait(self, timeout: float, /) -> bool:
        await asyncio.Event().wait()
        return True

    async def purge(self, *_: object, **__: object) -> int:
        return 0


def row(number: int = 0, body: bytes | None = None) -> OutboxRow:
    made = outgoing("t", Raw(b"1"), None, f"o-{number}")
    return made if body is None else OutboxRow(outbox_id=f"o-{number}", topic="t", body=body)


async def run(relay: Relay, box: Box, number: int) -> list[Settled]:
    """Relay until so many messages are settled."""
    relaying = Relaying(relay, box)  # type: ignore[arg-type]
    task = asyncio.create_task(relaying.run(lambda: 5.0))
    async with asyncio.timeout(30):
        while len(box.settled) < number:
            box.enough.clear()
            await box.enough.wait()
    relaying.stop()
    await task
    return box.settled


async def test_no_more_is_sent_at_once_than_allowed() -> None:
    at_once, most = 0, 0

    async def act(_: OutboxEvent) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1

    box = Box(*map(row, range(50)))
    settled = await run(Relay(Sender(act), concurrency=3), box, 50)
    assert (3, 3) == (most, box.most)
    assert {OutboxState.PUBLISHED} == {one.state for one in settled}


async def test_an_outbox_that_is_away_is_asked_again() -> None:
    away = StorageUnavailableError("away")
    box = Box(row(), troubles=[away, away])
    (settled,) = await run(Relay(Sender()), box, 1)
    assert settled.state is OutboxState.PUBLISHED


async def test_a_bug_in_the_outbox_ends_the_relay() -> None:
    relaying = Relaying(Relay(Sender()), Box(troubles=[ZeroDivisionError()]))  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        await relaying.run(lambda: 0.0)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (SystemExit(3), OutboxState.INVALID),  # as for activities, only Exceptions are tried again
        (KeyError("x"), OutboxState.PENDING),
        (asyncio.CancelledError(), OutboxState.PENDING),
    ],
)
async def test_nothing_that_a_sender_raises_ends_the_relay(error: BaseException, state: OutboxState) -> None:
    async def act(_: OutboxEvent) -> None:
        raise error

    (settled,) = await run(Relay(Sender(act)), Box(row()), 1)
    assert (settled.state, settled.counted) == (state, True)


async def test_pauses_grow_with_the_attempts_and_a_longer_one_that_is_asked_for_counts() -> None:
    async def act(event: OutboxEvent) -> None:
        raise Retry("no", after=60 if event.attempt == 1 else 0.001)

    policy = RetryPolicy(10, 1.0, 2.0, 5.0)
    settled = await run(Relay(Sender(act), retry=policy), Box(*map(row, range(5))), 5)
    assert {one.outbox_id: one.delay / 1e6 for one in settled} == {
        "o-0": 60.0, "o-1": 2.0, "o-2": 4.0, "o-3": 5.0, "o-4": 5.0
    }  # fmt: skip


async def test_what_is_no_message_is_invalid() -> None:
    sender = Sender()
    settled = await run(Relay(sender), Box(row(0, b"\xff"), row(1, b"[]")), 2)
    assert ({OutboxState.INVALID}, []) == ({one.state for one in settled}, sender.sent)


async def test_messages_of_former_versions_are_sent() -> None:
    sender = Sender()
    old = row(0, b'{"message_id":"m:1","name":"t","data":{"n":1},"key":"k"}')
    await run(Relay(sender), Box(old), 1)
    (event,) = sender.sent
    assert (event.data, event.key, event.source) == ({"n": 1}, "k", "/romancy")


async def test_a_filter_that_raises_ends_the_attempts() -> None:
    def broken(_: BaseException) -> bool:
        raise LookupError("broken")

    async def act(_: OutboxEvent) -> None:
        raise Retry("no")

    (settled,) = await run(Relay(Sender(act), retry=RetryPolicy(9, retry_on=broken)), Box(row()), 1)
    assert (settled.state, settled.error) == (OutboxState.FAILED, "no; then retry_on= raised LookupError: broken")


async def test_senders_are_entered_and_left() -> None:
    class Entered(Sender):
        steps: list[str] = []  # noqa: RUF012 - of one test

        async def __aenter__(self) -> Self:
            self.steps.append("entered")
            return self

        async def __aexit__(self, *_: object) -> None:
            self.steps.append("left")

    await run(Relay(Entered()), Box(row()), 1)
    assert Entered.steps == ["entered", "left"]


async def test_a_sender_that_cannot_be_entered_does_not_end_the_app() -> None:
    class Refuses(Sender):
        async def __aenter__(self) -> Self:
            raise OSError("no")

        async def __aexit__(self, *_: object) -> None:
            raise AssertionError

    async with Romancy("memory://", workflows=[], relay=Relay(Refuses())) as app:
        await app.drain(1.0)


def test_mistakes_are_told_at_once() -> None:
    for wrong in (
        {"sender": object()}, {"concurrency": 0}, {"timeout": 0}, {"lease": 30}, {"source": ""}, {"max_age": -1},
        {"retry": 3},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            Relay(**{"sender": Sender(), **wrong})  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        Romancy("memory://", relay=Sender())  # type: ignore[arg-type]


async def test_the_store_of_an_app_without_a_relay_is_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(type(MemoryStore().outbox), "claim", refuse)
    monkeypatch.setattr(type(MemoryStore().outbox), "wait", refuse)
    async with Romancy("memory://", workflows=[]):
        pass
