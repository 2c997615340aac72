"""Messages that are sent at the same time share one write, and do not affect each other."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from romancy.errors import CodecError, StorageUnavailableError, UsageError
from romancy.messages.poster import Poster
from romancy.storage.limits import MAX_BODY_BYTES
from romancy.storage.records import Delivered
from romancy.storage.routing import Place, Posting, Spread

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Router:
    """A store's router, and the access to it. It notes each write, and lets none of them end before it may."""

    def __init__(self) -> None:
        self.services = SimpleNamespace(router=self)
        self.writes: list[list[str]] = []
        self.may_end = asyncio.Event()
        self.dispatched: list[str] = []
        self.error: Exception | None = None
        self.cannot_seal = ""

    def opened(self) -> Router:
        return self

    def dispatch(self, addresses: list[str]) -> None:
        self.dispatched += addresses

    async def post(self, batch: Sequence[Posting]) -> list[Delivered]:
        ids = [posting.message_id for posting in batch]
        if self.cannot_seal in ids:
            raise CodecError("the key is missing")
        self.writes.append(ids)
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return [Delivered.DUPLICATE if one == "known" else Delivered.ACCEPTED for one in ids]


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
def poster(router: Router) -> Poster:
    return Poster(cast("Any", router))


def message(name: str, *, body: bytes = b"{}", dedupe: str | None = None) -> Posting:
    return Posting(message_id=name, places=(Place(name, Spread.EVERY),), body=body, dedupe=dedupe)


def sending(poster: Poster, *names: str) -> list[asyncio.Task[Delivered]]:
    return [asyncio.create_task(poster.post(message(name))) for name in names]


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_sent_during_a_write_shares_the_next_one(router: Router, poster: Poster) -> None:
    first = sending(poster, "a", "b")
    await turns()
    more = sending(poster, "c", "known", "d")
    await turns()
    assert router.writes == [["a", "b"]]

    router.may_end.set()

    accepted = Delivered.ACCEPTED
    assert await asyncio.gather(*first, *more) == [accepted, accepted, accepted, Delivered.DUPLICATE, accepted]
    assert router.writes == [["a", "b"], ["c", "known", "d"]]
    assert router.dispatched == ["a", "b", "c", "d"]


async def test_a_write_has_so_many_messages_and_bytes(router: Router, poster: Poster) -> None:
    router.may_end.set()
    await asyncio.gather(*sending(poster, *map(str, range(450))))
    large = [poster.post(message(name, body=b"x" * 600_000)) for name in "ab"]
    await asyncio.gather(*large)

    assert [len(one) for one in router.writes] == [200, 200, 50, 1, 1]


async def test_a_message_with_an_id_of_its_sender_is_written_alone(router: Router, poster: Poster) -> None:
    held = asyncio.create_task(poster.post(message("a", dedupe="mine")))
    others = sending(poster, "b", "c")
    await turns()
    assert router.writes == [["a"], ["b", "c"]]
    router.may_end.set()
    await asyncio.gather(held, *others)


async def test_who_stops_waiting_sends_nothing_and_stops_nobody(router: Router, poster: Poster) -> None:
    first = sending(poster, "a")
    await turns()
    gone, stays = sending(poster, "b", "c")
    await turns()
    first[0].cancel()
    gone.cancel()
    await turns()
    router.may_end.set()

    assert await stays is Delivered.ACCEPTED
    assert router.writes == [["a"], ["c"]]
    assert router.dispatched == ["a", "c"], "what was accepted is dispatched, although nobody waits for the answer"


async def test_an_error_of_the_database_reaches_all_of_a_write_and_no_other(router: Router, poster: Poster) -> None:
    failing = sending(poster, "a", "b")
    await turns()
    later = sending(poster, "c")
    router.error = StorageUnavailableError("away")
    router.may_end.set()
    answers = await asyncio.gather(*failing, return_exceptions=True)
    assert [type(one) for one in answers] == [StorageUnavailableError] * 2
    with pytest.raises(StorageUnavailableError):
        await later[0]

    router.error = None
    assert await poster.post(message("d")) is Delivered.ACCEPTED


async def test_what_cannot_be_sealed_or_stored_fails_alone(router: Router, poster: Poster) -> None:
    router.may_end.set()
    router.cannot_seal = "b"
    sent = sending(poster, "a", "b", "c")
    too_large = asyncio.create_task(poster.post(message("d", body=b"x" * (MAX_BODY_BYTES + 1))))
    answers = await asyncio.gather(*sent, too_large, return_exceptions=True)

    assert answers[0] is answers[2] is Delivered.ACCEPTED
    assert isinstance(answers[1], CodecError)
    assert isinstance(answers[3], UsageError)


async def test_callers_end_with_the_task_that_posts(router: Router, poster: Poster) -> None:
    sent = sending(poster, "a")
    await turns()
    sent += sending(poster, "b")
    await turns()
    (posting,) = [task for task in asyncio.all_tasks() if "_post_all" in repr(task.get_coro())]
    posting.cancel()
    await asyncio.wait(sent)

    assert [one.cancelled() for one in sent] == [True, True]
    router.may_end.set()
    assert await poster.post(message("c")) is Delivered.ACCEPTED
