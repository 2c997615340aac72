"""The declaration of a relay, and what it does when the outbox or the sender fails in unusual ways."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import AsyncMock, Mock

import pytest
from msgspec import Raw

from romancy import RetryPolicy, Romancy
from romancy.engine import outgoing
from romancy.errors import StorageUnavailableError, UsageError
from romancy.outbox import OutboxEvent, Reject, Relay, Retry, beside, running
from romancy.outbox.running import Relaying
from romancy.storage.backends import create_store
from romancy.storage.outbox import Consignment, OutboxEntry, OutboxRow, OutboxState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from romancy.storage.outbox import Settled

pytestmark = pytest.mark.anyio


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

    async def sweep(self) -> None:
        """Nothing is ever parked."""

    async def claim(self, claim: str, /, *, lease: int, limit: int) -> Consignment:
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


def test_a_sender_whose_send_is_not_async_is_refused() -> None:
    class Plain:
        def send(self, event: OutboxEvent, /) -> None: ...

    class Static:
        @staticmethod
        def send(event: OutboxEvent, /) -> None: ...

    class Partial:
        send = functools.partialmethod(Plain.send)

    class Text:
        send = "send"

    for wrong in (Plain(), Static(), Partial(), Text(), Sender, object()):
        with pytest.raises(UsageError, match="Relay takes an object with `async def send\\(event\\)`"):
            Relay(wrong)  # type: ignore[arg-type]


def test_a_sender_that_may_give_something_to_await_is_taken() -> None:
    class Wrapped:
        @functools.wraps(Sender.send)
        def send(self, event: OutboxEvent, /) -> Coroutine[Any, Any, None]:
            return Sender().send(event)

    class Partial:
        send = functools.partialmethod(Sender.send)

    class Mocked:
        send = AsyncMock()

    good: Any
    for good in (Wrapped(), Partial(), Mocked(), AsyncMock()):
        assert Relay(good).sender is good


class Unknown:
    """Only a call shows that `send` gives nothing to await."""

    def __init__(self) -> None:
        self.send: Any = Mock(return_value=None)


async def test_a_sender_that_gives_nothing_to_await_ends_the_relay_at_its_first_call() -> None:
    box, sender = Box(row()), Unknown()
    relaying = Relaying(Relay(sender), box)  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        with pytest.raises(UsageError, match=r"Unknown\.send is no `async def`"):
            await relaying.run(lambda: 5.0)

    assert [(one.state, one.counted, one.error) for one in box.settled] == [(OutboxState.PENDING, False, None)]
    assert sender.send.call_count == 1


async def test_beside_a_worker_such_a_relay_does_not_begin_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(beside, "_FIRST_PAUSE", 0.0)
    box, sender = Box(*map(row, range(5))), Unknown()
    relay = beside.Beside(Relay(sender, concurrency=1))
    relay.begin(box)  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        while not box.settled:
            box.enough.clear()
            await box.enough.wait()
    await relay.end(5.0)

    assert sender.send.call_count == 1
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "is not restarted" in record.message


async def test_a_warning_says_how_to_see_the_event_and_to_send_it_again(caplog: pytest.LogCaptureFixture) -> None:
    async def act(_: OutboxEvent) -> None:
        raise Reject("no")

    await run(Relay(Sender(act)), Box(row()), 1)
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.message == (
        "event o-0 (t) is invalid after 1 attempt; `romancy outbox --state invalid` tells why, "
        "`romancy outbox --requeue o-0` queues it again"
    )


async def test_the_store_of_an_app_without_a_relay_is_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(type(create_store("memory://").services.outbox), "claim", refuse)
    monkeypatch.setattr(type(create_store("memory://").services.outbox), "wait", refuse)
    async with Romancy("memory://", workflows=[]):
        pass


# ── senders that misbehave ──────────────────────────────────────────────────────────────────────────────────────────


class OddError(BaseException):
    """No Exception, and it cannot say what it is."""

    def __str__(self) -> str:
        raise OSError("no text")


class SilentError(Exception):
    def __str__(self) -> str:
        raise OddError


@pytest.mark.parametrize(("error", "state"), [(OddError(), OutboxState.INVALID), (SilentError(), OutboxState.PENDING)])
async def test_an_odd_error_takes_no_place_for_ever(error: BaseException, state: OutboxState) -> None:
    async def act(event: OutboxEvent) -> None:
        if event.id != "o-4":
            raise error

    settled = await run(Relay(Sender(act), concurrency=2), Box(*map(row, range(5))), 5)
    assert {one.outbox_id: one.state for one in settled} == {
        **{f"o-{number}": state for number in range(4)}, "o-4": OutboxState.PUBLISHED
    }  # fmt: skip
    assert settled[0].error == type(error).__name__


async def test_a_sender_that_does_not_end_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(running, "_LONGEST_GOODBYE", 0.01)
    release, begun = asyncio.Event(), asyncio.Event()

    async def act(_: OutboxEvent) -> None:
        begun.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    box = Box(row())
    relaying = Relaying(Relay(Sender(act)), box)  # type: ignore[arg-type]
    task = asyncio.create_task(relaying.run(lambda: 0.0))
    await begun.wait()
    relaying.stop()
    async with asyncio.timeout(30):
        await task
    assert "1 call of the sender goes on" in caplog.text
    assert box.settled == []
    release.set()
    await asyncio.sleep(0)  # the sender ends before the loop does


async def test_a_pause_without_measure_is_one_of_years() -> None:
    async def act(_: OutboxEvent) -> None:
        raise Retry("no", after=1e300)

    (settled,) = await run(Relay(Sender(act)), Box(row()), 1)
    assert 365 * 86_400 * 1_000_000 < settled.delay < 2**61


async def test_a_relay_that_fails_is_told_of_and_begins_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(beside, "_FIRST_PAUSE", 0.0)
    entered: list[int] = []
    sent = asyncio.Event()

    class Hesitates(Sender):
        async def __aenter__(self) -> Self:
            entered.append(len(entered))
            if len(entered) < 3:
                raise OSError("the broker is not there")
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def send(self, event: OutboxEvent, /) -> None:
            sent.set()

    box = Box(row())
    relay = beside.Beside(Relay(Hesitates()))
    relay.begin(box)  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        await sent.wait()
    await relay.end(5.0)

    assert [one.state for one in box.settled] == [OutboxState.PUBLISHED]
    assert [record.levelname for record in caplog.records if "is restarted" in record.message] == ["ERROR"] * 2


async def test_a_relay_that_keeps_failing_ends_with_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = asyncio.Event()

    class Refuses(Sender):
        async def __aenter__(self) -> Self:
            failed.set()
            raise OSError("no")

        async def __aexit__(self, *_: object) -> None:
            raise AssertionError

    monkeypatch.setattr(beside, "_FIRST_PAUSE", 3600.0)
    relay = beside.Beside(Relay(Refuses()))
    relay.begin(Box())  # type: ignore[arg-type]
    await failed.wait()
    async with asyncio.timeout(30):
        await relay.end(5.0)


async def test_after_a_failed_settlement_what_it_may_have_left_parked_is_swept_up() -> None:
    """The end was committed and the answer was lost: a second settlement no longer makes the next of the key due."""

    class Loses(Box):
        sweeps = 0
        lost = False

        async def sweep(self) -> None:
            self.sweeps += 1
            if self.sweeps == 2:
                self.enough.set()

        async def settle(self, batch: Sequence[Settled], /) -> int:
            if not self.lost:
                self.lost = True
                raise StorageUnavailableError("away")
            self.settled += batch
            return 0

    box = Loses(row())
    relaying = Relaying(Relay(Sender()), box)  # type: ignore[arg-type]
    task = asyncio.create_task(relaying.run(lambda: 5.0))
    async with asyncio.timeout(30):
        await box.enough.wait()
    relaying.stop()
    await task


async def test_events_are_sent_while_very_many_old_ones_are_removed() -> None:
    class Full(Box):
        order: list[str] = []  # noqa: RUF012 - of one test
        old = 5

        async def claim(self, claim: str, /, *, lease: int, limit: int) -> Consignment:
            self.order.append("claim")
            return await super().claim(claim, lease=lease, limit=limit)

        async def purge(self, *_: object, **options: object) -> int:
            self.order.append("purge")
            self.old -= 1
            if not self.old:
                self.enough.set()
            limit = options["limit"]
            assert isinstance(limit, int)
            return limit if self.old else 0

        async def wait(self, timeout: float, /) -> bool:
            await asyncio.sleep(timeout)
            return True

    box = Full()
    relaying = Relaying(Relay(Sender()), box)  # type: ignore[arg-type]
    task = asyncio.create_task(relaying.run(lambda: 5.0))
    async with asyncio.timeout(30):
        await box.enough.wait()
    relaying.stop()
    await task
    assert box.order[:10] == ["claim", "purge"] * 5
