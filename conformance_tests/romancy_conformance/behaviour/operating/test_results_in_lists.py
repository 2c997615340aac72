"""Lists with results: of completed instances alone, as plain JSON, and opened with the app's codecs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy import (
    CodecError,
    Codecs,
    Romancy,
    Status,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    workflow,
)
from romancy.errors import HistoryVersionError
from romancy.managing import lists
from romancy.managing.lists import result_of
from romancy.storage.any_store import last_commits_of
from romancy_conformance.behaviour.coded import Masking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow, LogRow
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@dataclass
class Bill:
    day: date
    cents: int


@workflow
async def bill(ctx: WorkflowContext, cents: int) -> Bill | None:
    if cents < 0:
        raise ValueError("negative")
    if cents > 100:
        await ctx.wait_event("paid")
    return Bill(date(2026, 3, 1), cents) if cents else None


async def filled(app: Romancy) -> None:
    await app.run(bill.options(instance_id="one"), 1)
    await app.run(bill.options(instance_id="none"), 0)
    await app.start(bill.options(instance_id="open"), 101)
    await app.start(bill.options(instance_id="gone"), 102)
    await app.terminate("gone", reason="no more")
    with pytest.raises(WorkflowFailedError):
        await app.run(bill.options(instance_id="bad"), -1)


async def test_completed_instances_have_their_results(app: Romancy) -> None:
    await filled(app)
    wanted = {"one": {"day": "2026-03-01", "cents": 1}, "none": None, "open": None, "gone": None, "bad": None}

    page = await app.list_instances(with_results=True)
    assert wanted == {one.instance_id: one.result for one in page.instances}
    assert ["ValueError: negative"] == [one.error for one in page.instances if one.instance_id == "bad"]
    found = await app.find_instances({"cents": 1}, with_results=True, limit=1)
    assert [wanted["one"]] == [one.result for one in found.instances]
    each = {one.instance_id: one.result async for one in app.iter_instances(with_results=True, status="completed")}
    assert {"one": wanted["one"], "none": None} == each


async def test_a_result_that_was_not_asked_for_is_no_null(app: Romancy) -> None:
    await filled(app)

    rows = {one.instance_id: one for one in (await app.list_instances()).instances}
    for name in ("one", "none"):
        with pytest.raises(UsageError, match="with_results=True"):
            _ = rows[name].result
    assert rows["open"].result is None


async def test_the_results_of_a_page_are_read_together(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of completed instances alone, and not at all if there are none or none were asked for."""
    await filled(app)
    reads: list[list[str]] = []

    async def reading(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
        reads.append([one.instance_id for one in instances])
        return await last_commits_of(store, instances)

    monkeypatch.setattr(lists, "last_commits_of", reading)
    await app.list_instances()
    await app.list_instances(with_results=True)
    await app.list_instances(with_results=True, status=["failed", "waiting"])

    assert [["none", "one"], []] == reads


async def test_what_is_removed_between_the_two_reads_is_left_out(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(app)

    async def reading(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
        await app.purge("one")
        return await last_commits_of(store, instances)

    monkeypatch.setattr(lists, "last_commits_of", reading)
    page = await app.list_instances(with_results=True)

    assert ["bad", "gone", "open", "none"] == [one.instance_id for one in page.instances]


async def test_sealed_results_need_the_codec(open_app: Open) -> None:
    """The list itself needs none, and each unreadable result says which codec it needs."""
    sealing = await open_app(codecs=Codecs(Masking()))
    await sealing.run(bill.options(instance_id="sealed"), 7)
    plain = await open_app(worker=False)
    older = await open_app(worker=False, codecs=Codecs(Masking(b"new", key_id="2"), read_only=[Masking()]))

    wanted = {"day": "2026-03-01", "cents": 7}
    for app in (sealing, older):
        assert [wanted] == [one.result for one in (await app.list_instances(with_results=True)).instances]
    (one,) = (await plain.list_instances(with_results=True)).instances
    assert ("sealed", Status.COMPLETED) == (one.instance_id, one.status)
    with pytest.raises(CodecError, match="result of instance sealed was written with the codec 'mask:1'"):
        _ = one.result
    assert "cents" not in repr(one)


async def test_a_result_of_a_newer_version_breaks_no_list(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(app)

    async def reading(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
        found = await last_commits_of(store, instances)
        found["one"] = replace(found["one"], body=b'[{"type":"WorkflowEndedByMagic"}]')
        return found

    monkeypatch.setattr(lists, "last_commits_of", reading)
    rows = {one.instance_id: one for one in (await app.list_instances(with_results=True)).instances}

    assert rows["none"].result is None
    with pytest.raises(HistoryVersionError):
        _ = rows["one"].result
    assert result_of(rows["one"])["result"] is None
    assert "WorkflowEndedByMagic" in result_of(rows["one"])["result_unreadable"]
