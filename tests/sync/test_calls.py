"""The app without `await`, on each database."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from romancy import (
    Channel,
    EventTimeoutError,
    InstanceNotFoundError,
    Status,
    UsageError,
    Workflow,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.query import InstanceFilter
from romancy.sync import SyncHandle, SyncRomancy
from romancy_conformance.servers import Kind
from tests.sessions.libraries import CREATE, DRIVERS, INSERT, kind_of, sqlalchemy_url
from tests.sessions.workflows import PAID, wait_for_payment

if TYPE_CHECKING:
    from collections.abc import Iterator

NEWS = Channel("news", str)


@activity
def whisper(name: str) -> str:
    return name.lower()


@workflow
async def greet(ctx: WorkflowContext, name: str) -> str:
    return f"hello {await whisper(name)}"


@workflow
async def greets(ctx: WorkflowContext, names: list[str]) -> list[str]:
    return [f"hello {await whisper(name)}" for name in names]


@workflow
async def fails(ctx: WorkflowContext) -> None:
    raise ValueError("no")


@workflow
async def with_a_session(ctx: WorkflowContext, session: str) -> str:
    return session


@workflow
async def listens(ctx: WorkflowContext) -> str:
    news = ctx.channel(NEWS)
    await news.subscribe()
    return (await news.receive()).data


apps: list[SyncRomancy] = []


@activity
def starts_another(name: str) -> str:
    return apps[0].start(greet.options(instance_id=name), name).instance_id


@workflow
async def begins(ctx: WorkflowContext, name: str) -> str:
    return await starts_another(name)


@workflow
async def calls_the_app(ctx: WorkflowContext) -> None:
    apps[0].list_instances()


WORKFLOWS: list[Workflow[..., Any]] = [
    greet,
    greets,
    wait_for_payment,
    fails,
    with_a_session,
    listens,
    begins,
    calls_the_app,
]


@pytest.fixture
def app(storage_url: str) -> Iterator[SyncRomancy]:
    with SyncRomancy(storage_url, workflows=WORKFLOWS) as app:
        yield app


def test_starting_asking_and_reading(app: SyncRomancy) -> None:
    assert app.run(greet, "ANN") == "hello ann"
    handle = app.start(greet.options(instance_id="bob"), "BOB")
    assert handle.result(timeout=60) == "hello bob"
    assert handle.status() is Status.COMPLETED
    assert handle.instance_id == "bob"
    assert [one.result(60) for one in app.start_many([greet.bind("C"), greet.bind("D")])] == ["hello c", "hello d"]
    assert app.handle("bob", greet).result(60) == "hello bob"
    assert {one.workflow_name for one in app.iter_instances()} == {"greet"}
    assert len(list(handle.entries())) == len(handle.history())
    with pytest.raises(WorkflowFailedError, match="ValueError"):
        app.run(fails)
    with pytest.raises(InstanceNotFoundError):
        app.handle("nobody").status()
    assert app.run(with_a_session, session="mine") == "mine"


def test_an_iterator_that_is_left_early(app: SyncRomancy) -> None:
    handle = app.start(wait_for_payment)
    for entry in handle.entries(follow=True):
        assert entry.instance_id == handle.instance_id
        break
    handle.signal(PAID, 1)
    assert handle.result(60) == 1


def test_signals_events_and_channels(app: SyncRomancy) -> None:
    handle = app.start(wait_for_payment)
    handle.signal(PAID, 3)
    assert handle.result(60) == 3
    waiting = app.signal_with_start(wait_for_payment.options(instance_id="w").bind(), PAID, 4)
    assert waiting.result(60) == 4
    listening = app.start(listens)
    channel = app.channel(NEWS)
    while not channel.members():
        assert listening.status() is not Status.FAILED
    channel.publish("new")
    assert listening.result(60) == "new"


def test_windows(app: SyncRomancy) -> None:
    calls = [app.debounce(greet.bind(name), "all", wait=0.3) for name in ("Ann", "Bob")]
    started: SyncHandle[str] = calls[0].started(timeout=60)
    assert started.result() == "hello bob"
    window = calls[1].get()
    assert window is not None
    assert [one.calls for one in window.starts] == [2]
    batch = app.batch(greets, "Ann", "all", size=5, within=3600)
    app.window_handle("batch", "greets", "all").flush()
    assert batch.started().result() == ["hello ann"]
    batch.drop()


def test_a_subscription(app: SyncRomancy) -> None:
    channel = app.channel(NEWS)
    with channel.subscribe("reader") as messages:
        channel.publish("first")
        channel.publish("second")
        assert messages.receive(timeout=60).data == "first"
        messages.acknowledge()
    with channel.subscribe("reader") as messages:
        for message in messages:
            assert message.data == "second"
            break
        with pytest.raises(EventTimeoutError):
            messages.receive(timeout=0)
    with pytest.raises(UsageError, match="inside of the block"):
        messages.receive()
    assert [one.id for one in channel.members()] == ["reader"]
    channel.unsubscribe("reader")


def test_a_client_of_the_app(app: SyncRomancy) -> None:
    with app.as_client() as client:
        assert type(client) is SyncRomancy
        assert client.run(greet, "ANN") == "hello ann"
        assert client.workflows.keys() == app.workflows.keys()
    assert app.is_open


def test_a_plain_activity_uses_the_app_that_it_runs_in(app: SyncRomancy) -> None:
    apps[:] = [app]
    assert app.run(begins, "ANN") == "ANN"
    assert app.handle("ANN", greet).result(60) == "hello ann"


def test_a_workflow_that_calls_the_app_it_runs_in_fails(app: SyncRomancy) -> None:
    apps[:] = [app]
    with pytest.raises(WorkflowFailedError, match="in a workflow, whose replay would repeat it: move it into an act"):
        app.run(calls_the_app)


@pytest.mark.backends("sqlite", *Kind)
def test_a_session_is_used_in_its_own_thread(app: SyncRomancy, storage_url: str) -> None:
    engine = create_engine(sqlalchemy_url(storage_url, DRIVERS[kind_of(storage_url)][1]))
    with engine.begin() as making:
        making.execute(text(CREATE))
    waiting = app.start(wait_for_payment)
    with Session(engine) as session:
        session.execute(text(INSERT.format("ann")))
        kept = app.start(greet, "ANN", session=session)
        waiting.signal(PAID, 5, session=session)
        app.publish("greeted", "ann", session=session)
        nightly = app.schedule("nightly", greet.bind("ANN"), cron="0 2 * * *", session=session)
        assert app.get_instance(kept.instance_id) is None
        assert nightly.get() is None
        session.commit()
        assert nightly.get() is not None
        assert kept.result(60) == "hello ann"
        assert waiting.result(60) == 5
        dropped = app.start(greet, "BOB", session=session)
        session.rollback()
    assert app.get_instance(dropped.instance_id) is None
    engine.dispose()


@pytest.mark.backends("sqlite", *Kind)
def test_a_session_that_awaits_is_refused(app: SyncRomancy, storage_url: str) -> None:
    engine = create_async_engine(sqlalchemy_url(storage_url, DRIVERS[kind_of(storage_url)][0]))
    with pytest.raises(UsageError, match="belongs to an event loop"):
        app.start(greet, "ann", session=AsyncSession(engine))
    assert app.list_instances().instances == []


def test_lists_show_results_and_are_bound_by_the_end(app: SyncRomancy) -> None:
    for name in ("Ann", "Bob"):
        app.run(greet.options(instance_id=name), name)
    app.start(wait_for_payment.options(instance_id="open"))

    rows = {one.instance_id: one for one in app.list_instances(with_results=True).instances}
    ended = rows["Bob"].updated_at

    assert {"Ann": "hello ann", "Bob": "hello bob", "open": None} == {name: one.result for name, one in rows.items()}
    assert ["Bob"] == [one.instance_id for one in app.find_instances({}, ended_after=ended).instances]
    counts = app.count(ids=["Ann", "open"])
    assert (2, {"greet": 1, "wait_for_payment": 1}) == (counts, counts.by_workflow)
    assert ["Ann", "Bob", "open"] == [one.instance_id for one in app.iter_instances(top_level=True, oldest_first=True)]
    found = app.iter_instances(ended_before=ended, with_results=True)
    assert [("Ann", "hello ann")] == [(one.instance_id, one.result) for one in found]
    greeted = InstanceFilter({"name": "Bob"}, status="completed")
    assert ["Bob"] == [one.instance_id for one in app.list_instances(greeted).instances]
    assert {"Bob"} == {entry.instance_id for entry in app.entries(greeted, ids=["Bob", "open"])}
    assert (1, 0) == (app.count(greeted), app.check(ids=["Ann"]).checked)
    assert ["open"] == app.cancel_many(InstanceFilter(ids=["open", "Ann"]))
    assert ["Bob"] == app.purge_many(greeted)


def start_signal_and_await(app: SyncRomancy, count: int) -> None:
    """64 threads, each with one workflow after another."""

    def one(number: int) -> int:
        handle: SyncHandle[int] = app.start(wait_for_payment.options(instance_id=f"w-{number}"))
        handle.signal(PAID, number)
        return handle.result(timeout=240)

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(one, range(count))) == list(range(count))


def test_many_threads_share_one_app(app: SyncRomancy) -> None:
    start_signal_and_await(app, 200)


@pytest.mark.soak
@pytest.mark.backends("sqlite", "postgres")
def test_very_many_calls_of_many_threads(app: SyncRomancy) -> None:
    start_signal_and_await(app, 5000 if "ROMANCY_SOAK" in os.environ else 800)


@pytest.mark.dealt("sqlite")
def test_inside_a_running_loop_it_is_refused_by_name(app: SyncRomancy, storage_url: str) -> None:
    async def inside() -> None:
        with pytest.raises(UsageError, match=r"SyncRomancy.run blocks"):
            app.run(greet, "ANN")
        with pytest.raises(UsageError, match=r"open\(\) blocks"):
            SyncRomancy(storage_url, workflows=[greet]).open()
        with pytest.raises(UsageError, match=r"close\(\) blocks"):
            app.close()
        assert await asyncio.to_thread(app.run, greet, "ANN") == "hello ann"

    asyncio.run(inside())


@pytest.mark.dealt("sqlite")
def test_a_closed_app_refuses_calls_and_can_be_opened_again(storage_url: str) -> None:
    app = SyncRomancy(storage_url, workflows=[greet])
    with pytest.raises(UsageError, match="not open"):
        app.run(greet, "ANN")
    for _ in range(2):
        app.open()
        with pytest.raises(UsageError, match="open already"):
            app.open()
        assert app.is_open
        assert app.run(greet, "ANN") == "hello ann"
        app.close()
        assert not app.is_open
    app.close()  # of a closed app: nothing is left to do
    assert not [one for one in threading.enumerate() if one.name == "romancy-loop"]


@pytest.mark.backends("sqlite")
def test_an_app_that_cannot_be_opened_leaves_no_thread(storage_url: str) -> None:
    app: Any = SyncRomancy(f"{storage_url}/not/there/at/all", workflows=[greet])
    with pytest.raises(Exception, match="not/there"):
        app.open()
    assert not [one for one in threading.enumerate() if one.name == "romancy-loop"]
