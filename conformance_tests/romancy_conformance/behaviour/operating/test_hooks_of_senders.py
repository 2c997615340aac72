"""Hooks about sends: they add headers before the write, and are called once the database has the message."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceConflictError,
    RetryPolicy,
    Romancy,
    Status,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy._headers import bringing
from romancy.hooks import Hook
from romancy.outbox import Relay
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.recording import Recorder
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.hooks import ActivityStarted, Sending
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


class Carrier(Hook):
    """Gives everything that is sent a header that names it, and records what it is asked and told."""

    def __init__(self) -> None:
        self.asked: list[Sending] = []
        self.told: list[Sending] = []
        self.seen: dict[str, Mapping[str, str]] = {}

    def sending(self, message: Sending, /) -> Mapping[str, str]:
        self.asked.append(message)
        return {"from": f"{message.kind} {message.name}"}

    def sent(self, message: Sending, /) -> None:
        self.told.append(message)

    def around_activity(self, attempt: ActivityStarted, /) -> Any:
        self.seen[attempt.activity_name] = attempt.headers
        return super().around_activity(attempt)

    def story(self) -> list[str]:
        """Return what was told, in short and sorted."""
        return sorted(f"{one.kind} {one.name}" for one in self.told)


@activity
async def look() -> str:
    return "seen"


@workflow
async def started(ctx: WorkflowContext) -> dict[str, str]:
    await look()
    return ctx.headers


@workflow
async def listens(ctx: WorkflowContext) -> list[dict[str, str]]:
    await ctx.subscribe("news")
    talk = ctx.channel("talk")
    await talk.subscribe()
    found = [(await ctx.wait_event("go")).headers]
    found.append((await ctx.wait_event("news")).headers)
    return [*map(dict, found), dict((await talk.receive()).headers)]


@workflow
async def speaks(ctx: WorkflowContext, to: str) -> None:
    await ctx.send("go", to=to)
    await ctx.send("news")
    await ctx.channel("talk").publish("hello")
    await ctx.publish("told")
    await look()


calls_started = calling(started)


@workflow
async def waits(ctx: WorkflowContext) -> None:
    await ctx.send("news")
    await started()
    await ctx.wait_event("go")


@activity(retry=RetryPolicy.fixed(3, 0.0))
async def tells(to: str) -> None:
    context = activity_context()
    await context.publish("told")
    await context.send("go", to=to)
    await context.send("news")
    await context.channel("talk").publish("hello")
    if context.attempt == 1:
        raise ConnectionError("this attempt sends nothing")


calls_tells = calling(tells)


async def listening(app: Romancy) -> str:
    """Start an instance that listens, and return its id once it does."""
    handle = await app.start(listens)
    await status_is(app, handle.instance_id, Status.WAITING)
    return handle.instance_id


FROM_ALL = ["signal go", "send news", "message talk"]


@pytest.mark.parametrize("worker", [True, False], ids=["with a worker", "without one"])
async def test_a_program_adds_headers_to_what_it_sends(open_app: Open, *, worker: bool) -> None:
    carrier, at_work = Carrier(), Carrier()
    app = await open_app(hooks=[carrier], worker=worker)
    other = await open_app(hooks=[at_work]) if not worker else app

    handle = await app.start(started.options(headers={"tenant": "t", "from": "me"}))
    assert await handle.result(timeout=60) == {"tenant": "t", "from": "start started"}
    assert (carrier if worker else at_work).seen["look"] == {"tenant": "t", "from": "start started"}

    to = await listening(other)
    carrier.told.clear()
    await app.signal(to, "go")
    await app.send("news", headers={"tenant": "t"})
    await app.channel("talk").publish("hello")
    found = await app.handle(to).result(timeout=60)
    assert [one["from"] for one in found] == FROM_ALL
    assert found[1]["tenant"] == "t"
    assert carrier.story() == sorted(FROM_ALL)
    assert all(one.sender is None for one in carrier.told)
    assert [one.to for one in carrier.told] == [to, None, None]


async def test_a_body_adds_headers_to_what_it_sends(open_app: Open) -> None:
    carrier, sender = Carrier(), Recorder()
    app = await open_app(hooks=[carrier], relay=Relay(sender, source="/test"))
    to = await listening(app)
    carrier.told.clear()

    handle = await app.start(speaks.options(headers={"tenant": "t"}), to)
    await handle.result(timeout=60)
    await sender.until(1)
    found = await app.handle(to).result(timeout=60)

    assert [one["from"] for one in found] == FROM_ALL
    assert sender.sent[0].headers == {"tenant": "t", "from": "publish told"}
    assert carrier.story() == sorted([*FROM_ALL, "publish told", "start speaks"])
    senders = [one.sender for one in carrier.told if one.kind != "start"]
    assert len(senders) == 4
    for one in senders:
        assert one is not None
        assert (one.instance_id, one.workflow_name, one.run, one.activity_id) == (handle.instance_id, "speaks", 1, None)
        assert one.headers == {"tenant": "t", "from": "start speaks"}
        assert one.began_at is not None


async def test_a_child_gets_headers(open_app: Open) -> None:
    carrier = Carrier()
    app = await open_app(hooks=[carrier])

    assert await app.run(calls_started) == {"from": "start started"}

    assert [one.name for one in carrier.told] == ["calls_started", "started"]
    assert carrier.told[1].to is not None
    assert carrier.told[1].sender is not None


async def test_an_activity_adds_headers_to_what_it_sends(open_app: Open) -> None:
    carrier, sender = Carrier(), Recorder()
    app = await open_app(hooks=[carrier], relay=Relay(sender, source="/test"))
    to = await listening(app)
    carrier.told.clear()
    carrier.asked.clear()

    await app.run(calls_tells, to)
    await sender.until(1)
    found = await app.handle(to).result(timeout=60)

    assert [one["from"] for one in found] == FROM_ALL
    assert sender.sent[0].headers["from"] == "publish told"
    assert carrier.story() == sorted([*FROM_ALL, "publish told", "start calls_tells"])  # the first attempt sent nothing
    assert len(carrier.asked) == 9
    assert {one.sender.activity_id for one in carrier.told if one.sender is not None} == {"tells:1"}


async def test_a_replay_asks_and_tells_nothing(open_app: Open) -> None:
    first, second = Carrier(), Carrier()
    app = await open_app(hooks=[first])
    handle = await app.start(waits)
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.drain()

    other = await open_app(hooks=[second])
    await (await open_app(worker=False)).signal(handle.instance_id, "go")
    await other.handle(handle.instance_id).result(timeout=60)

    assert first.story() == ["send news", "start started", "start waits"]
    assert second.asked == second.told == []


async def test_only_what_was_written_is_told(open_app: Open, storage_url: str) -> None:
    carrier = Carrier()
    app = await open_app(hooks=[carrier], worker=False)
    a, b = (started.options(instance_id=name) for name in "ab")

    await app.start(a)
    await app.start_many([a.bind(), b.bind()])
    with pytest.raises(InstanceConflictError):
        await app.start(a, if_exists="refuse")
    assert [one.to for one in carrier.told] == ["a", "b"]

    await open_app(workflows=[started])
    await app.handle("a").result(timeout=60)
    await app.start(a, if_exists="restart_ended")
    assert [one.to for one in carrier.told] == ["a", "b", "a"]
    assert await app.handle("a").result(timeout=60) == {"from": "start started"}

    await app.send("news", id="n", source="/s")
    await app.send("news", id="n", source="/s")
    assert [one.kind for one in carrier.told[3:]] == ["send"]


async def test_what_joins_a_transaction_of_the_callers(open_app: Open, storage_url: str) -> None:
    carrier = Carrier()
    app = await open_app(hooks=[carrier])
    opener = caller_for(storage_url)
    if opener is None:
        pytest.skip("capability: this database has no connections but the store's own")
    caller = await opener()
    try:
        await caller.begin()
        handle = await app.start(started, session=caller.connection)
        await app.publish("told", session=caller.connection)
        await caller.commit()
    finally:
        await caller.close()

    assert await handle.result(timeout=60) == {"from": "start started"}
    assert carrier.story() == ["publish told", "start started"]


@workflow
async def waits_for_go(ctx: WorkflowContext) -> list[dict[str, str]]:
    return [ctx.headers, dict((await ctx.wait_event("go")).headers), dict((await ctx.wait_event("go")).headers)]


async def test_a_signal_that_starts(open_app: Open) -> None:
    carrier = Carrier()
    app = await open_app(hooks=[carrier])
    call = waits_for_go.options(instance_id="w").bind()

    handle = await app.signal_with_start(call, "go")
    assert carrier.story() == ["signal go", "start waits_for_go"]
    await app.signal_with_start(call, "go")
    assert carrier.story() == ["signal go", "signal go", "start waits_for_go"]

    assert [one["from"] for one in await handle.result(timeout=60)] == ["start waits_for_go", "signal go", "signal go"]


class Broken(Hook):
    """Fails in one of its calls."""

    def __init__(self, where: str) -> None:
        self.where = where

    def sending(self, message: Sending, /) -> Any:
        if self.where == "sending":
            raise RuntimeError("the hook is broken")
        return {"junk": {"x": 1}, "many": {"x": "y" * 20_000}, "list": [1]}.get(self.where)

    def sent(self, message: Sending, /) -> None:
        if self.where == "sent":
            raise RuntimeError("the hook is broken")


@pytest.mark.parametrize("where", ["sending", "junk", "many", "list", "sent"])
async def test_a_broken_hook_disturbs_nobody(open_app: Open, where: str, caplog: pytest.LogCaptureFixture) -> None:
    carrier = Carrier()
    app = await open_app(hooks=[Broken(where), carrier])

    with caplog.at_level(logging.ERROR, "romancy"):
        assert await app.run(calls_started) == {"from": "start started"}
        await until(lambda: len(carrier.told) == 2)

    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert all(text.startswith("hook Broken failed at a start of ") for text in texts)


async def test_what_a_context_brings_goes_along(open_app: Open) -> None:
    app = await open_app()
    to = await listening(app)
    with bringing({"tenant": "t", "other": "o"}):
        handle = await app.start(started.options(headers={"other": "mine"}))
        await app.signal(to, "go")
        await app.send("news", headers={"other": "mine"})
        await app.channel("talk").publish("hello")

    assert await handle.result(timeout=60) == {"tenant": "t", "other": "mine"}
    assert await app.handle(to).result(timeout=60) == [
        {"tenant": "t", "other": "o"},
        {"tenant": "t", "other": "mine"},
        {"tenant": "t", "other": "o"},
    ]
    assert await app.run(started) == {}
