"""Instances are taken out of a database as a file, and go on in another one."""

from __future__ import annotations

import base64
import json
import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Retention, Romancy, Status, Stream, WorkflowContext, activity, workflow
from romancy.errors import HistoryCorruptError, HistoryVersionError, InstanceConflictError, UsageError
from romancy.moving import importing, taking
from romancy.moving.format import line_of, read_line
from romancy.retaining.keeping import Retaining, rules_of
from romancy.retaining.places import Folder
from romancy.retaining.restoring import restore
from romancy.storage.services import Service
from romancy_conformance.behaviour.cast import record, waits_at_a_gate
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import status_is, until
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from romancy.storage.rebuilding import Brought, Rebuilt

pytestmark = pytest.mark.anyio

MONTH = timedelta(days=30)
WORDS = Stream("moved-words", str)


@activity
async def moved_double(number: int) -> int:
    return number * 2


@workflow(index=["number"])
async def moved(ctx: WorkflowContext, number: int) -> int:
    doubled = await moved_double(number)
    if number < 10:
        return doubled
    went = await ctx.wait_event("go", model=int)
    return doubled + went.data


@workflow
async def moved_parent(ctx: WorkflowContext, number: int) -> int:
    return await moved.options(instance_id=f"{ctx.instance_id}-child")(number)


@workflow
async def moved_sleeper(ctx: WorkflowContext) -> str:
    await ctx.sleep(MONTH)
    return "slept"


@workflow
async def moved_speaker(ctx: WorkflowContext, words: list[str]) -> int:
    for word in words:
        await ctx.stream(WORDS).write(word)
    return len(words)


@workflow
async def moved_steps(ctx: WorkflowContext, count: int) -> int:
    for number in range(count):
        await moved_double(number)
    return (await ctx.wait_event("go", model=int)).data


@workflow
async def moved_worker(ctx: WorkflowContext) -> str:
    return await waits_at_a_gate("moved")


ALL: list[Any] = [moved, moved_parent, moved_sleeper, moved_steps]


async def filled(url: str, **options: Any) -> None:
    """Instances of each kind, and no worker any more. One has mail that it has not read, and one is paused."""
    async with Romancy(url, workflows=ALL, **options) as app:
        assert await (await app.start(moved.options(instance_id="done"), 1)).result(timeout=60) == 2
        for number, name in enumerate(("mail", "wait", "held"), 10):
            await app.start(moved.options(instance_id=name), number)
        await app.start(moved_parent.options(instance_id="parent"), 13)
        await app.start(moved_sleeper.options(instance_id="sleep"))
        for one in ("mail", "wait", "held", "parent", "parent-child", "sleep"):
            await status_is(app, one, Status.WAITING)
        await app.pause("held", reason="the bank is down")
        await status_is(app, "held", Status.PAUSED)
    async with Romancy(url, workflows=ALL, worker=False, **options) as app:
        await app.start(moved.options(instance_id="later", delay=MONTH), 3)
        await app.signal("mail", "go", 5)
        await app.signal("held", "go", 6)


def elsewhere(tmp_path: Path, name: str = "other") -> str:
    return f"sqlite:///{tmp_path / name}.db"


async def exported(url: str, path: Path, **options: Any) -> Any:
    async with Romancy(url, workflows=ALL, worker=False, **options) as app:
        return await app.export_instances(path)


async def imported(url: str, path: Path, **options: Any) -> Any:
    async with Romancy(url, workflows=ALL, worker=False, **options) as app:
        services_with(Service.REBUILDING, app._access.opened())  # pyright: ignore[reportPrivateUsage]
        return await app.import_instances(path)


async def goes_on(url: str, **options: Any) -> None:
    """All of them do what they would have done."""
    async with Romancy(url, workflows=ALL, **options) as app:
        assert await app.handle("done").result(timeout=60) == 2
        assert await app.handle("mail").result(timeout=60) == 25
        held, sleeps, later = [await app.get_instance(one) for one in ("held", "sleep", "later")]
        assert held is not None
        assert (held.status, held.error) == (Status.PAUSED, "the bank is down")
        await app.unpause("held")
        assert await app.handle("held").result(timeout=60) == 30
        await app.signal("wait", "go", 7)
        await app.signal("parent-child", "go", 8)
        assert await app.handle("wait").result(timeout=60) == 29
        assert await app.handle("parent").result(timeout=60) == 34
        assert sleeps is not None
        assert sleeps.status is Status.WAITING
        assert later is not None
        assert later.status is Status.PENDING
        found = await app.find_instances({"number": 11})
        assert [one.instance_id for one in found.instances] == ["wait"]


@pytest.mark.parametrize("sealed", [False, True])
async def test_they_go_on_in_another_database(storage_url: str, tmp_path: Path, *, sealed: bool) -> None:
    """From SQLite to each database, by a file with what codecs have sealed as it is."""
    options: dict[str, Any] = {"codecs": [Masking()]} if sealed else {}
    await filled(elsewhere(tmp_path), **options)
    async with Romancy(elsewhere(tmp_path), workflows=ALL, worker=False, **options) as app:
        before = [(one.instance_id, one.created_at) async for one in app.iter_instances()]
    out = await exported(elsewhere(tmp_path), tmp_path / "file", **options)
    assert (out.instances, out.open, out.left_out) == (8, 7, 0)

    came = await imported(storage_url, tmp_path / "file", **options)
    again = await imported(storage_url, tmp_path / "file", **options)

    assert (came.instances, came.open, came.skipped) == (8, 7, 0)
    assert (again.instances, again.skipped) == (0, 8)
    async with Romancy(storage_url, workflows=ALL, worker=False, **options) as app:
        assert before == [(one.instance_id, one.created_at) async for one in app.iter_instances()]
    await goes_on(storage_url, **options)
    later = await imported(storage_url, tmp_path / "file", **options)
    assert (later.instances, later.skipped) == (0, 8), "those that have gone on are the same"


async def test_they_are_taken_out_of_each_database(storage_url: str, tmp_path: Path) -> None:
    await filled(storage_url)
    await exported(storage_url, tmp_path / "file")

    await imported(elsewhere(tmp_path), tmp_path / "file")

    await goes_on(elsewhere(tmp_path))


async def test_a_long_log_comes_in_parts_and_is_no_instance_before_its_end(
    storage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each call that writes, the import is cut off, and begins again."""
    monkeypatch.setattr(taking, "_PAGE", 5)
    monkeypatch.setattr(taking, "_ROOM", 1)
    async with Romancy(elsewhere(tmp_path), workflows=ALL) as app:
        await app.start(moved_steps.options(instance_id="long"), 40)
        await status_is(app, "long", Status.WAITING)
    async with Romancy(elsewhere(tmp_path), workflows=ALL, worker=False) as app:
        await app.signal("long", "go", 9)
        await app.export_instances(tmp_path / "file")
    assert (tmp_path / "file").read_bytes().count(b"\n") > 3

    cut_off = 0
    while True:
        async with Romancy(storage_url, workflows=ALL, worker=False) as app:
            store = app._access.opened()  # pyright: ignore[reportPrivateUsage]
            services_with(Service.REBUILDING, store)
            if await _import_or_stop(app, tmp_path / "file", monkeypatch, cut_off):
                break
            found = await store.services.rebuilding.stored(after="", limit=10)
            assert await app.get_instance("long") is None
            assert [one.row for one in found] == [None] * len(found)
        cut_off += 1
    assert cut_off > 1
    async with Romancy(storage_url, workflows=ALL) as app:
        assert await app.handle("long").result(timeout=60) == 9


async def _import_or_stop(app: Romancy, path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> bool:
    """Import, and stop before the write with this number. Whether it has ended."""
    rebuilding = app._access.opened().services.rebuilding  # pyright: ignore[reportPrivateUsage]
    bring, rebuild = rebuilding.bring, rebuilding.rebuild
    count = 0

    def counted() -> None:
        nonlocal count
        if count == writes:
            raise RuntimeError("cut off")
        count += 1

    async def brings(parts: Sequence[Brought], /) -> None:
        counted()
        await bring(parts)

    async def rebuilds(instances: Sequence[Rebuilt], /) -> int:
        counted()
        return await rebuild(instances)

    with monkeypatch.context() as patch:
        patch.setattr(rebuilding, "bring", brings)
        patch.setattr(rebuilding, "rebuild", rebuilds)
        try:
            await app.import_instances(path)
        except RuntimeError:
            return False
    return True


async def test_streams_travel(storage_url: str, tmp_path: Path) -> None:
    words = [f"word {number}" for number in range(5)]
    async with Romancy(elsewhere(tmp_path), workflows=[moved_speaker]) as app:
        handle = await app.start(moved_speaker.options(instance_id="speaks"), words)
        assert await handle.result(timeout=60) == 5
        await app.export_instances(tmp_path / "file")

    async with Romancy(storage_url, workflows=[moved_speaker], worker=False) as app:
        await app.import_instances(tmp_path / "file")

        items = [item async for item in app.handle("speaks").stream(WORDS)]
        assert [item.data for item in items if item.kind == "data"] == words


async def test_what_a_worker_may_run_is_refused_on_both_sides(storage_url: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with Romancy(storage_url, workflows=ALL) as app:
        await (await app.start(moved.options(instance_id="done"), 1)).result(timeout=60)
        await app.start(moved.options(instance_id="wait"), 11)
        await status_is(app, "wait", Status.WAITING)
        with pytest.raises(UsageError, match=r"nothing was written: instance 'wait': .*stop the workers first"):
            await app.export_instances(path)
        assert not path.exists()
        assert (await app.export_instances(tmp_path / "ended", status=Status.COMPLETED)).instances == 1
        await app.pause("wait")
        await status_is(app, "wait", Status.PAUSED)
        assert (await app.export_instances(tmp_path / "paused")).open == 1
        await app.unpause("wait")
        await status_is(app, "wait", Status.WAITING)
    await exported(storage_url, path)
    async with Romancy(elsewhere(tmp_path), workflows=ALL) as app:
        with pytest.raises(UsageError, match=r"nothing was written: instance 'wait': .*stop the workers first"):
            await app.import_instances(path)
        assert await app.count() == 0
        assert (await app.import_instances(tmp_path / "ended")).instances == 1


async def test_a_snapshot_of_a_database_with_workers_is_taken_out(storage_url: str, tmp_path: Path) -> None:
    """Nobody runs what is in it, once the leases of the workers in it are over."""
    everything = [*ALL, moved_worker]
    async with Romancy(elsewhere(tmp_path), workflows=everything, lease=0.5, drain_timeout=0) as app:
        await app.start(moved_worker.options(instance_id="works"))
        await app.start(moved.options(instance_id="wait"), 11)
        await status_is(app, "wait", Status.WAITING)
        await until(lambda: "moved" in record.names())
        database = sqlite3.connect(tmp_path / "other.db")
        snapshot = sqlite3.connect(tmp_path / "snapshot.db")
        database.backup(snapshot)
        database.close()
        snapshot.close()

    async def is_exported() -> bool:
        try:
            await exported(elsewhere(tmp_path, "snapshot"), tmp_path / "file")
        except UsageError as error:
            assert "the worker" in str(error)  # noqa: PT017 - it is refused until then
            return False
        return True

    await until(is_exported)
    async with Romancy(storage_url, workflows=everything, worker=False) as app:
        await app.import_instances(tmp_path / "file")
    record.gates["moved"].set()
    async with Romancy(storage_url, workflows=everything) as app:
        assert await app.handle("works").result(timeout=60) == "moved"
        await app.signal("wait", "go", 1)
        assert await app.handle("wait").result(timeout=60) == 23
    assert record.names() == ["moved", "moved"]


async def test_another_instance_under_the_id_is_refused_by_name(storage_url: str, tmp_path: Path) -> None:
    await filled(elsewhere(tmp_path))
    await exported(elsewhere(tmp_path), tmp_path / "file")
    async with Romancy(storage_url, workflows=ALL, worker=False) as app:
        await app.start(moved.options(instance_id="wait"), 1)
        with pytest.raises(
            InstanceConflictError, match="nothing was written: instance 'wait' is there already"
        ) as told:
            await app.import_instances(tmp_path / "file")
        assert list(told.value.conflicts) == ["wait"]
        assert await app.count() == 1


async def test_another_log_of_the_same_instance_is_refused_by_name(storage_url: str, tmp_path: Path) -> None:
    await filled(elsewhere(tmp_path))
    await exported(elsewhere(tmp_path), tmp_path / "before")
    await imported(storage_url, tmp_path / "before")
    await goes_on(elsewhere(tmp_path))
    async with Romancy(elsewhere(tmp_path), workflows=ALL, worker=False) as app:
        await app.export_instances(tmp_path / "after", ids=["wait"])

    with pytest.raises(InstanceConflictError, match="'wait' is there already with another log"):
        await imported(storage_url, tmp_path / "after")


async def test_a_family_goes_together(tmp_path: Path) -> None:
    await filled(elsewhere(tmp_path))
    async with Romancy(elsewhere(tmp_path), workflows=ALL, worker=False) as app:
        with pytest.raises(UsageError, match="its child 'parent-child' is open and was not chosen"):
            await app.export_instances(tmp_path / "file", ids=["parent"])
        with pytest.raises(UsageError, match="its parent 'parent' is open and was not chosen"):
            await app.export_instances(tmp_path / "file", ids=["parent-child"])
        assert (await app.export_instances(tmp_path / "file", ids=["parent", "parent-child"])).instances == 2


async def test_a_file_that_is_not_whole_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    await filled(elsewhere(tmp_path))
    await exported(elsewhere(tmp_path), tmp_path / "file")
    lines = (tmp_path / "file").read_bytes().splitlines(keepends=True)
    newer = json.loads(lines[0])["export"] | {"version": 99}
    first = read_line(lines[1], "", "")
    damaged = lines[2].replace(b'"life":', b'"life":1')
    cases: list[tuple[list[bytes], type[Exception], str]] = [
        (lines[:-1], HistoryCorruptError, "ends in the middle"),
        ([*lines[:3], lines[3][:20]], HistoryCorruptError, "ends in the middle"),
        ([*lines[:2], damaged, *lines[3:]], HistoryCorruptError, "line 3 is damaged: its sum does not fit"),
        ([*lines[:2], b"?\n", *lines[3:]], HistoryCorruptError, "line 3 is damaged"),
        ([*lines[:2], *lines[3:]], HistoryCorruptError, "and its end says"),
        ([*lines, line_of(first)], HistoryCorruptError, "comes behind the end"),
        (lines[1:], UsageError, "is no export"),
        ([b"id,name\n"], UsageError, "is no export"),
        ([], UsageError, "is no export"),
        ([_resealed("export", newer), *lines[1:]], HistoryVersionError, "a newer Romancy reads it"),
    ]
    for number, (kept, error, told) in enumerate(cases):
        path = tmp_path / f"case-{number}"
        path.write_bytes(b"".join(kept))
        with pytest.raises(error, match=told):
            await imported(elsewhere(tmp_path, "new"), path)
    async with Romancy(elsewhere(tmp_path, "new"), workflows=ALL, worker=False) as app:
        assert await app.count() == 0


def _resealed(kind: str, body: object) -> bytes:
    from hashlib import sha256  # noqa: PLC0415 - of this alone

    text = json.dumps(body).encode()
    return json.dumps({"sum": sha256(text).hexdigest()[:32], kind: body}).encode() + b"\n"


async def test_an_app_without_the_workflow_or_the_codec_is_told(tmp_path: Path) -> None:
    await filled(elsewhere(tmp_path), codecs=[Masking()])
    await exported(elsewhere(tmp_path), tmp_path / "file", codecs=[Masking()])
    assert base64.b64encode(b'"number"') not in (tmp_path / "file").read_bytes()

    async with Romancy(elsewhere(tmp_path, "new"), workflows=[moved_sleeper], worker=False) as app:
        with pytest.raises(UsageError, match="this app has no workflow 'moved'"):
            await app.import_instances(tmp_path / "file")
        assert await app.count() == 0


async def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    await filled(elsewhere(tmp_path))
    async with Romancy(elsewhere(tmp_path), workflows=ALL, worker=False) as app:
        assert (await app.export_instances(tmp_path / "file", dry_run=True)).instances == 8
        assert not (tmp_path / "file").exists()
        await app.export_instances(tmp_path / "file")
        with pytest.raises(UsageError, match="is there already"):
            await app.export_instances(tmp_path / "file")
    async with Romancy(elsewhere(tmp_path, "new"), workflows=ALL, worker=False) as app:
        assert (await app.import_instances(tmp_path / "file", dry_run=True)).instances == 8
        assert await app.count() == 0


async def test_a_message_that_was_not_sent_is_not_left_behind(tmp_path: Path) -> None:
    @workflow
    async def moved_sender(ctx: WorkflowContext) -> None:
        await ctx.publish("orders", {"a": 1})

    async with Romancy(elsewhere(tmp_path), workflows=[moved_sender]) as app:
        await (await app.start(moved_sender.options(instance_id="sends"))).result(timeout=60)
        with pytest.raises(UsageError, match=r"instance 'sends': its message .* in the outbox was not sent"):
            await app.export_instances(tmp_path / "file")


async def test_what_was_removed_comes_back_from_the_archive(storage_url: str, tmp_path: Path) -> None:
    said = Retention(completed=0, archive=tmp_path / "archive")
    async with Romancy(storage_url, workflows=ALL) as app:
        access = app._access  # pyright: ignore[reportPrivateUsage]
        store, registry = access.opened(), access.registry
        assert access.worker is not None
        assert registry is not None
        services_with(Service.REBUILDING, store)
        retaining = Retaining(
            store,
            access.worker,
            rules_of(said, {one.name: one for one in ALL}),
            app._purge_all_as_found,  # pyright: ignore[reportPrivateUsage]
        )
        assert await (await app.start(moved.options(instance_id="done"), 4)).result(timeout=60) == 8
        ended = await app.get_instance("done")
        assert await retaining.look() == 1
        assert await app.get_instance("done") is None

        came = await restore(store, registry, Folder(tmp_path / "archive"), ["done"])
        again = await restore(store, registry, Folder(tmp_path / "archive"), ["done"])

        assert (came.instances, came.skipped, again.instances, again.skipped) == (1, 0, 0, 1)
        back = await app.get_instance("done")
        assert ended is not None
        assert back is not None
        assert back.created_at == ended.created_at
        assert back.updated_at > ended.updated_at, "or retention would remove it at once"
        assert await app.handle("done").result(timeout=60) == 8
        assert await retaining.look() == 1
        assert (await restore(store, registry, Folder(tmp_path / "archive"), ["done"])).instances == 1


async def test_many_are_read_and_written_in_groups(storage_url: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(importing, "_TOGETHER", 3)
    async with Romancy(elsewhere(tmp_path), workflows=ALL, worker=False) as app:
        await app.start_many([moved.options(instance_id=f"m{number}").bind(number) for number in range(10)])
    await exported(elsewhere(tmp_path), tmp_path / "file")

    assert (await imported(storage_url, tmp_path / "file")).instances == 10

    async with Romancy(storage_url, workflows=ALL) as app:
        assert [await app.handle(f"m{number}").result(timeout=60) for number in range(10)] == list(range(0, 20, 2))
