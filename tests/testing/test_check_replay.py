"""A test app replays what has ended, off-stage, and fails the test of a body that is not deterministic."""

from __future__ import annotations

import datetime as dt
import logging
import random
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Status, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.hooks import Hook
from romancy.replaying import off_stage
from romancy.testing import TestApp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = pytest.mark.anyio

runs: list[str] = []
logger = logging.getLogger("shop")


@activity
async def note(what: str) -> str:
    return what


@workflow
async def clock(ctx: WorkflowContext) -> None:
    await note(f"{time.time_ns()}")


@workflow
async def dated(ctx: WorkflowContext) -> str:
    return dt.datetime.now(dt.UTC).isoformat()


@workflow
async def dice(ctx: WorkflowContext) -> None:
    await ctx.sleep(1 + random.random())


@workflow
async def own_id(ctx: WorkflowContext) -> None:
    await note(str(uuid.uuid4()))
    raise ValueError("no use")


@workflow
async def from_a_file(ctx: WorkflowContext, path: str) -> str:
    with open(path) as file:  # noqa: ASYNC230, PTH123 - the mistake
        return file.read()


@workflow
async def counting(ctx: WorkflowContext) -> str:
    runs.append("run")
    logger.warning("the body runs")
    print("the body runs")
    return await note("once")


@workflow
async def parent(ctx: WorkflowContext) -> None:
    await ctx.start(clock)


@workflow
async def deterministic(ctx: WorkflowContext) -> str:
    await ctx.sleep(ctx.random().random())
    return f"{ctx.now()} {ctx.uuid4()} {await note('x')}"


@workflow
async def hangs_in_a_replay(ctx: WorkflowContext) -> None:
    runs.append("run")
    while len(runs) > 1:
        pass


@asynccontextmanager
async def failing(with_text: str) -> AsyncGenerator[None]:
    """The block fails with an AssertionError that holds this."""
    with pytest.raises(AssertionError, match=with_text):
        yield


@pytest.mark.parametrize("mistaken", [clock, dated, dice, own_id])
async def test_a_body_that_depends_on_something_else_fails_the_test(mistaken: Any) -> None:
    async with TestApp([mistaken]) as app:
        with pytest.raises(AssertionError, match="the code now does") as raised:
            await app.run(mistaken)
    assert mistaken.name in str(raised.value)


async def test_a_file_that_changes_is_found_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("1")
    async with failing("from_a_file"), TestApp([from_a_file]) as app:
        await app.start(from_a_file, str(path))
        await app.settle()
        path.write_text("2")


async def test_it_is_told_when_the_app_closes_if_nobody_waits_for_the_end() -> None:
    async with failing("workflow clock"), TestApp([parent, clock]) as app:
        await app.run(parent)
        await app.settle()


async def test_the_error_of_the_test_stays_and_gets_the_difference_as_a_note() -> None:
    app = await TestApp([clock]).__aenter__()
    await app.start(clock)
    await app.settle()
    error = LookupError("of the test")
    await app.__aexit__(LookupError, error, None)
    assert any("the code now does" in note for note in error.__notes__)


async def test_it_is_found_before_the_log_is_gone() -> None:
    async with TestApp([clock]) as app:
        handle = await app.start(clock)
        await app.settle()
        with pytest.raises(AssertionError, match="workflow clock"):
            await app.purge(handle.instance_id)


@pytest.mark.parametrize("act", ["restart", "crash"])
async def test_it_is_found_before_another_worker_begins(act: str) -> None:
    async with TestApp([clock]) as app:
        await app.start(clock)
        await app.settle()
        with pytest.raises(AssertionError, match="workflow clock"):
            await getattr(app, act)()


async def test_nothing_of_the_test_sees_the_replay(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    class Ear(Hook):
        def workflow_ended(self, *args: Any, **kwargs: Any) -> None:
            told.append("ended")

    runs.clear()
    async with TestApp([counting], hooks=[Ear()]) as app:
        assert await app.run(counting) == "once"
        assert app.calls.names == ["note"]
        assert app.skips == 0
    assert runs == ["run"]
    assert capsys.readouterr().out == "the body runs\n"
    assert [record.getMessage() for record in caplog.records if record.name == "shop"] == ["the body runs"]
    assert len(told) <= 1


async def test_deterministic_bodies_pass() -> None:
    async with TestApp([deterministic, own_id]) as app:
        for _ in range(3):
            await app.run(deterministic)


async def test_it_can_be_switched_off() -> None:
    async with TestApp([clock, own_id], check_replay=False) as app:
        await app.run(clock)
        with pytest.raises(WorkflowFailedError):
            await app.run(own_id)


async def test_a_replay_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(off_stage, "_PATIENCE", 0.5)
    runs.clear()
    async with TestApp([hangs_in_a_replay]) as app:
        with pytest.raises(AssertionError, match=r"took longer than 0\.5 s"):
            await app.run(hangs_in_a_replay)


async def test_each_end_is_replayed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    replayed: list[str] = []
    real = off_stage.differences

    def counted(cases: Any) -> dict[str, str]:
        replayed.extend(case.instance_id for case in cases)
        return real(cases)

    monkeypatch.setattr("romancy.testing._ends.differences", counted)
    async with TestApp([deterministic]) as app:
        handles = [await app.start(deterministic) for _ in range(100)]
        for handle in handles:
            await handle.result()
        assert (await app.list_instances(status=Status.COMPLETED, limit=1)).has_more
    assert sorted(replayed) == sorted(handle.instance_id for handle in handles)


async def test_a_system_that_cannot_copy_a_process_replays_in_this_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(off_stage, "_replay", vars(off_stage)["_replayed_here"])
    async with TestApp([clock, counting]) as app:
        await app.run(counting)
        with pytest.raises(AssertionError, match="workflow clock"):
            await app.run(clock)
    assert capsys.readouterr().out == "the body runs\n"
    assert [record.getMessage() for record in caplog.records if record.name == "shop"] == ["the body runs"]
