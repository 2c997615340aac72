"""A worker removes what ended longer ago than `retention=` says, and nothing that belongs to something open."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest

from romancy import Retention, RetryPolicy, Romancy, Status, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.errors import HistoryCorruptError
from romancy.retaining import keeping, passes
from romancy.retaining.archive import archived_as
from romancy.retaining.keeping import Retaining, rules_of
from romancy.retaining.places import Folder
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import waits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from romancy import Instance
    from romancy.retaining.keeping import Purge
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

NOW = Retention(completed=0, failed=0, cancelled=0)


@activity(retry=RetryPolicy.none())
async def retained_refuse() -> None:
    raise ValueError("no")


fails_for_retention = calling(retained_refuse)


@workflow
async def short_lived(ctx: WorkflowContext) -> int:
    return 1


@workflow
async def stays(ctx: WorkflowContext) -> int:
    return 1


@workflow
async def parent_that_waits(ctx: WorkflowContext) -> int:
    answer = await short_lived.options(instance_id=f"{ctx.instance_id}-child")()
    await ctx.report(answer)
    await ctx.wait_event("go")
    return answer


EVERYTHING: list[Any] = [short_lived, stays, parent_that_waits, waits, fails_for_retention]


def retaining(app: Romancy, said: Retention | Literal["default"] | None, purge: Purge | None = None) -> Retaining:
    """What the app's worker would do by this retention."""
    access = app._access  # pyright: ignore[reportPrivateUsage] - the worker of an app has no public name
    assert access.worker is not None
    rules = rules_of(said, {one.name: one for one in EVERYTHING})
    return Retaining(access.opened(), access.worker, rules, purge or purge_of(app))


def purge_of(app: Romancy) -> Purge:
    return app._purge_all_as_found  # pyright: ignore[reportPrivateUsage] - what the app gives to its own task


async def ids(app: Romancy) -> list[str]:
    return sorted([one.instance_id async for one in app.iter_instances()])


async def test_each_goes_when_its_time_is_over_and_nothing_else(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stays, "retention", Retention(failed=0))
    app = await open_app(workflows=EVERYTHING)
    for done in (short_lived.options(instance_id="done"), stays.options(instance_id="kept")):
        assert await (await app.start(done)).result(timeout=60) == 1
    await app.start(waits.options(instance_id="open"))
    failed = await app.start(fails_for_retention.options(instance_id="failed"))
    with pytest.raises(WorkflowFailedError):
        await failed.result(timeout=60)

    assert await retaining(app, Retention(completed="1h", failed="30d")).look() == 0
    assert await retaining(app, Retention(cancelled=0)).look() == 0
    assert await retaining(app, Retention(failed=0)).look() == 1
    assert await ids(app) == ["done", "kept", "open"]
    assert await retaining(app, NOW).look() == 1
    assert await ids(app) == ["kept", "open"]


async def test_a_tree_goes_from_its_leaves_after_its_root_has_ended(open_app: Open) -> None:
    app = await open_app(workflows=EVERYTHING)
    root = await app.start(parent_that_waits.options(instance_id="root"))
    assert await root.report(wait=lambda answer: answer == 1, timeout=60) == 1

    assert await retaining(app, NOW).look() == 0
    assert await ids(app) == ["root", "root-child"]

    await root.signal("go")
    assert await root.result(timeout=60) == 1
    assert await retaining(app, Retention(completed="1h")).look() == 0
    assert await retaining(app, NOW).look() == 1
    assert await ids(app) == ["root"]
    assert await retaining(app, NOW).look() == 1


async def test_another_goes_on_where_one_was_stopped(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_PAGE", 3)
    one, other = await open_app(workflows=EVERYTHING), await open_app(workflows=EVERYTHING)
    names = [f"i-{number}" for number in range(10)]
    await one.start_many([waits.options(instance_id=name).bind() for name in names])
    await one.terminate_many(workflow_name=waits.name)
    removed: list[str] = []
    stopped = asyncio.Event()

    async def purge(found: Sequence[Instance]) -> set[str]:
        if removed:
            stopped.set()
            await asyncio.Event().wait()
        removed.extend(gone := await purge_of(one)(found))
        return gone

    first = asyncio.create_task(retaining(one, NOW, purge).look())
    await asyncio.wait_for(stopped.wait(), 60)
    first.cancel()

    both = await asyncio.gather(retaining(other, NOW).look(), retaining(one, NOW).look(), return_exceptions=True)
    assert len(removed) == 3
    assert all(isinstance(each, int) for each in both), both
    assert await ids(one) == []
    assert await other.count(status=Status.CANCELLED) == 0


async def test_each_is_in_the_archive_before_it_goes(open_app: Open, tmp_path: Path) -> None:
    app = await open_app(workflows=EVERYTHING)
    said = Retention(completed=0, archive=tmp_path / "archive")
    assert await (await app.start(short_lived.options(instance_id="done"))).result(timeout=60) == 1

    async def crashes(found: Sequence[Instance]) -> set[str]:
        raise RuntimeError("between the archive and the purge")

    with pytest.raises(RuntimeError):
        await retaining(app, said, crashes).look()
    assert await ids(app) == ["done"]
    assert await retaining(app, said).look() == 1
    assert await ids(app) == []

    (file,) = (tmp_path / "archive").iterdir()
    assert file.read_bytes().count(b"\n") == 2
    with file.open("ab") as torn:
        torn.write(b'{"sum":"')
    (one,) = archived_as(Folder(tmp_path / "archive"), "done")
    assert (one.workflow, one.status) == (short_lived.name, "completed")
    assert one.log[0].seq == 1
    assert archived_as(Folder(tmp_path / "archive"), "don") == []

    file.write_bytes(file.read_bytes().replace(b"completed", b"cancelled"))
    with pytest.raises(HistoryCorruptError, match="line 1 is damaged"):
        archived_as(Folder(tmp_path / "archive"), "done")


async def test_what_cannot_go_keeps_no_other_workflow_waiting(open_app: Open) -> None:
    app = await open_app(workflows=EVERYTHING)
    for one in (short_lived, stays):
        assert await (await app.start(one.options(instance_id=one.name))).result(timeout=60) == 1

    async def refuses(found: Sequence[Instance]) -> set[str]:
        if short_lived.name in {one.instance_id for one in found}:
            raise RuntimeError("its archive is full")
        return await purge_of(app)(found)

    with pytest.raises(RuntimeError, match="its archive is full"):
        await retaining(app, NOW, refuses).look()
    assert await ids(app) == [short_lived.name]


async def test_one_of_the_workers_with_the_same_rules_does_it(open_app: Open) -> None:
    said = (NOW, NOW, Retention(failed="1d"))
    apps = [await open_app(workflows=EVERYTHING, retention=one) for one in said]
    parts = [retaining(app, one) for app, one in zip(apps, said, strict=True)]
    for part in parts:
        await part.worker.leases.meet()

    *same, different = [part.is_mine() for part in parts]
    assert [False, True] == sorted(same)
    assert different


async def test_a_worker_looks_by_itself(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_FIRST", 0.0)
    monkeypatch.setattr(keeping, "_SOON", 0.01)
    monkeypatch.setattr(keeping, "_MOST_OFTEN", 0.01)
    app = await open_app(workflows=EVERYTHING, retention=NOW)
    await app.start(short_lived.options(instance_id="done"))

    while await app.get_instance("done") is not None:  # noqa: ASYNC110 - it goes without any news
        await asyncio.sleep(0.01)


async def test_it_holds_in_a_new_database(empty_url: str) -> None:
    for _ in range(2):
        async with Romancy(empty_url, workflows=EVERYTHING, worker=False) as app:
            assert await app.retention_by_default()
    async with Romancy(empty_url, workflows=EVERYTHING, worker=False) as app:
        await app.set_retention_by_default(on=False)
    async with Romancy(empty_url, workflows=EVERYTHING, worker=False) as app:
        assert not await app.retention_by_default()


async def test_ended_instances_go_by_default_where_nothing_else_is_said(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeping, "BY_DEFAULT", NOW)
    caplog.set_level("INFO", "romancy")
    monkeypatch.setattr(stays, "retention", Retention())
    app = await open_app(workflows=EVERYTHING)
    await app.set_retention_by_default(on=True)
    for done in (short_lived.options(instance_id="done"), stays.options(instance_id="kept")):
        assert await (await app.start(done)).result(timeout=60) == 1

    assert await retaining(app, None).look() == 0
    assert await ids(app) == ["done", "kept"]
    assert await retaining(app, "default").look() == 1
    assert await ids(app) == ["kept"]
    assert "removed 1 ended instances whose time was over; retention= of the app or" in caplog.text


async def test_what_the_database_says_is_heeded_by_each_pass_and_can_be_said_twice(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "BY_DEFAULT", NOW)
    app, other = await open_app(workflows=EVERYTHING), await open_app(workflows=EVERYTHING, worker=False)
    assert await (await app.start(short_lived.options(instance_id="done"))).result(timeout=60) == 1
    running = retaining(app, "default")

    for _ in range(2):
        await other.set_retention_by_default(on=False)
        assert not await app.retention_by_default()
        assert await running.look() == 0
    assert await retaining(app, Retention(failed=0)).look() == 0
    assert await ids(app) == ["done"]

    for _ in range(2):
        await other.set_retention_by_default(on=True)
        assert await app.retention_by_default()
    assert await running.look() == 1
    assert await running.look() == 0
    assert await ids(app) == []


async def test_a_default_is_long(open_app: Open) -> None:
    app = await open_app(workflows=EVERYTHING)
    await app.set_retention_by_default(on=True)
    assert await (await app.start(short_lived.options(instance_id="done"))).result(timeout=60) == 1
    assert await retaining(app, "default").look() == 0
    assert await ids(app) == ["done"]
