"""What a caller gets where a store lacks a service without which the call still has an answer."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

import romancy.app
from romancy import Romancy, WorkflowContext, workflow
from romancy.core import TimerFired, encode_commit
from romancy.engine import ActsAs, coded, others_may_try
from romancy.engine.outside.terminating import terminate
from romancy.serialization import Codecs, PayloadContext, is_sealed
from romancy.status import Status
from romancy.storage.any_store import last_commits_of
from romancy.storage.backends import create_store
from romancy.storage.records import Append, Worker
from romancy.storage.services import Services
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.changing import changed
from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

OWNER = Worker(token="w", worker_id="w", lease=60_000_000)
FIRST = encode_commit([TimerFired(at=1, id="t")])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def without_services(url: str, **options: Any) -> Store:
    store: Store = changed(create_store(url, **options), services=Services())
    return store


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Of a database whose adapter offers no services."""
    monkeypatch.setattr(romancy.app, "create_store", without_services)
    return f"sqlite:///{tmp_path}/bare.db"


@pytest.fixture
async def store(url: str) -> AsyncGenerator[Store]:
    """The store, open, with an instance that its worker holds."""
    store = without_services(url)
    await store.open()
    await store.heartbeat(OWNER)
    await store.commit([held()], worker="w")
    yield store
    await store.close()


def held() -> Append:
    return start(
        instance_id="held", life=5, workflow_name="missing_services_sleeps", code="1", writer="w.1", body=FIRST,
        input=b'"in"', owner="w", status=Status.RUNNING,
    )  # fmt: skip


@workflow
async def missing_services_sleeps(ctx: WorkflowContext) -> None:
    await ctx.sleep(3600)


@workflow
async def missing_services_sends(ctx: WorkflowContext) -> None:
    await ctx.send("news", to="nobody")


async def test_a_result_is_waited_for_longer_than_a_lease(url: str) -> None:
    """Whether a worker knows the workflow cannot be told."""
    async with Romancy(url, workflows=[missing_services_sleeps], worker=False, lease=0.5) as app:
        handle = await app.start(missing_services_sleeps)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle.result(), 2)


async def test_no_other_worker_is_known_that_may_take_up_a_stuck_instance(store: Store) -> None:
    history = await store.read("held")
    assert history is not None

    assert not await others_may_try(store, history.instance)


async def test_an_instance_that_is_held_is_terminated(store: Store) -> None:
    await store.heartbeat(Worker(token="m", worker_id="m", lease=60_000_000))

    assert await terminate(store, ActsAs("m", 0), "held", "enough")


async def test_a_message_to_nobody_is_lost_and_said_so(url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Romancy(url, workflows=[missing_services_sends]) as app:
        await app.run(missing_services_sends)
        await until(lambda: "was not delivered: that instance does not exist; it is lost" in caplog.text)

    assert [] == [record.message for record in caplog.records if record.levelno >= logging.ERROR]


class Flipping:
    id = "flip"

    def encode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        return bytes(byte ^ 255 for byte in data)

    decode = encode


@pytest.mark.xfail(strict=True, reason="a commit that is read by itself is opened, or the whole list fails")
async def test_a_commit_in_a_list_that_cannot_be_opened_stays_sealed(url: str) -> None:
    """As it does where the store has lookups, and as it did before there were services."""
    store = without_services(url)
    await store.open()
    await store.heartbeat(OWNER)
    await coded(store, Codecs(Flipping())).commit([held()], worker="w")
    history = await store.read("held")
    assert history is not None

    found = await last_commits_of(coded(store, Codecs()), [history.instance])

    assert is_sealed(found["held"].body, "commit")
    await store.close()
