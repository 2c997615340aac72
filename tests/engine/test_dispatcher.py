"""A failed dispatch does not delay others, and is retried."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec import Raw

from romancy.core import Message, Topic
from romancy.engine import dispatcher as module
from romancy.engine.dispatcher import Dispatcher
from romancy.engine.inbox import Mail
from romancy.errors import StorageUnavailableError
from romancy.storage.routing import Dispatched, Owner
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

pytestmark = pytest.mark.anyio

FAR = 60.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Router:
    """Routes at all addresses but bad ones, and notes each call."""

    def __init__(self, *bad: str, error: Exception | None = None) -> None:
        self.bad = set(bad)
        self.error = error or RuntimeError("it is poison")
        self.calls: list[tuple[str, ...]] = []
        self.done: list[str] = []
        self.returned: list[str] = []
        self.held_up: dict[str, str] = {}
        self.changed = asyncio.Event()

    async def dispatch(self, addresses: Collection[str] = ()) -> Dispatched:
        self.calls.append(tuple(addresses))
        self.changed.set()
        await asyncio.sleep(0)
        if self.bad.intersection(addresses or ("sweep",)):
            raise self.error
        self.done += addresses or ("sweep",)
        self.changed.set()
        return Dispatched(delivered=len(addresses), held_up=self.held_up)

    async def give_back(self, owner: Owner, delivery_ids: Sequence[str], *, at: int) -> int:
        if owner.name in self.bad:
            self.changed.set()
            raise self.error
        self.returned.append(owner.name)
        self.changed.set()
        return len(delivery_ids)

    async def until(self, *done: str) -> None:
        """Wait until these addresses are routed."""
        async with asyncio.timeout(FAR):
            while not set(done) <= set(self.done) | set(self.returned):
                self.changed.clear()
                await self.changed.wait()
                await asyncio.sleep(0)


def over(router: Router) -> Dispatcher:
    return Dispatcher(cast("Any", SimpleNamespace(services=SimpleNamespace(router=router, offered=frozenset(Service)))))


@pytest.mark.parametrize(
    "error", [RuntimeError("it is poison"), StorageUnavailableError("locked")], ids=["bad", "held"]
)
async def test_one_that_fails_keeps_no_other_waiting(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="romancy.engine")
    router = Router("k7", error=error)
    dispatcher = over(router)
    dispatcher.ask([f"k{number}" for number in range(50)])
    async with asyncio.timeout(FAR):
        await router.changed.wait()
    dispatcher.ask(["later"])
    await router.until("later", *(f"k{number}" for number in range(50) if number != 7))

    before = len(router.calls)
    dispatcher.ask(["k7", "news"])
    await router.until("news")
    assert ("news",) in router.calls[before:], "what is known to fail is not tried together with others"
    await dispatcher.close()


async def test_what_failed_is_routed_when_it_can_be() -> None:
    router = Router("bad")
    dispatcher = over(router)
    dispatcher.ask(["good", "bad"])
    await router.until("good")
    router.bad.clear()
    await router.until("bad")

    assert router.done == ["good", "bad"]
    await dispatcher.close()


async def test_while_the_database_is_away_nothing_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.05)
    router = Router("a", "b", "c", error=StorageUnavailableError("away"))
    dispatcher = over(router)
    dispatcher.ask(["a", "b", "c"])
    async with asyncio.timeout(FAR):
        while len(router.calls) < 4:
            router.changed.clear()
            await router.changed.wait()
    router.bad.clear()
    await router.until("a", "b", "c")

    assert {len(call) for call in router.calls} == {3}
    await dispatcher.close()


async def test_a_return_that_fails_keeps_no_other_waiting() -> None:
    router = Router("bad")
    dispatcher = over(router)
    back: list[str] = []
    for name in ("bad", "good"):
        mail = Mail("m", 1, Message(Topic("k"), Raw(b"1")), 1, address=f"k-{name}")
        dispatcher.give_back(Owner(name, 1), mail, partial(back.append, name))
    await router.until("good", "k-good")
    assert back == ["good"]

    router.bad.clear()
    await router.until("bad", "k-bad")
    assert back == ["good", "bad"]
    await dispatcher.close()


async def test_a_sweep_that_fails_is_tried_again_once_and_keeps_no_address_waiting() -> None:
    router = Router("sweep")
    dispatcher = over(router)
    dispatcher.sweep()
    async with asyncio.timeout(FAR):
        await router.changed.wait()
    dispatcher.ask(["a"])
    for _ in range(5):
        dispatcher.sweep()
    await router.until("a")
    router.bad.clear()
    await router.until("sweep")

    await dispatcher.close()
    assert router.done == ["a", "sweep"], "sweeps that were asked for meanwhile are this one"


async def test_closing_waits_for_what_can_be_routed_and_not_for_what_fails() -> None:
    router = Router("bad")
    dispatcher = over(router)
    dispatcher.ask(["bad"])
    async with asyncio.timeout(FAR):
        await router.changed.wait()
    dispatcher.ask(["good"])
    await dispatcher.close()

    assert router.done == ["good"]


async def test_an_address_that_waits_for_another_worker_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    router = Router()
    router.held_up = {"k/5/order/7": "a newer version wrote it"}
    dispatcher = over(router)
    for one in ("a", "b"):
        dispatcher.ask([one])
        await router.until(one)
    await dispatcher.close()

    assert [record.getMessage() for record in caplog.records] == [
        "messages at 'k/5/order/7' wait for another worker: a newer version wrote it"
    ]
