"""`romancy limits`: who is inside and who waits, what an operator chooses, and places that are given back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from romancy import EventType, Limit, Romancy, StartSkippedError, WorkflowContext, workflow
from romancy.core import PlaceAsked, PlaceGranted
from romancy_conformance.behaviour.waiting import until
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.in_process import Answer

GO = EventType("go", str)


@workflow(limits=[Limit("shop", key="shop", concurrency=1)])
async def sell(ctx: WorkflowContext, shop: str) -> str:
    return (await ctx.wait_event(GO)).data


@pytest.fixture
def romancy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run a command beside a database in which `first` is inside of a limit, and `second` waits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("ROMANCY_URL", "sqlite:///made.db")
    asyncio.run(_sold("sqlite:///made.db"))
    return runner(capsys)


async def _sold(url: str) -> None:
    async with Romancy(url, workflows=[sell]) as app:
        for name, kind in (("first", PlaceGranted), ("second", PlaceAsked)):
            handle = await app.start(sell.options(instance_id=name), "7")

            async def there(handle: object = handle, kind: type = kind) -> bool:
                return any(isinstance(event, kind) for event in await app.history(handle.instance_id))  # type: ignore[attr-defined]

            await until(there)


def test_the_list_says_who_is_inside_and_who_waits(romancy: Callable[..., Answer]) -> None:
    table, lines = romancy("limits").out, romancy("limits", "shop", "--json").out

    head, row = (" ".join(line.split()) for line in table.splitlines())
    assert head == "WAITING INSIDE SINCE (UTC) LIMIT AND KEY ALLOWED"
    assert row.startswith("1 1/1 ")
    assert row.endswith("shop 7 1 at once")
    (lane,) = map(json.loads, lines.splitlines())
    assert (lane["limit"], lane["key"], lane["holders"], lane["waiting"]) == ("shop", "7", ["first"], 1)
    assert romancy("limits", "other").out == ""


def test_why_says_who_is_in_the_way(romancy: Callable[..., Answer]) -> None:
    why = " ".join(romancy("why", "second").out.split())

    assert "waits for a place under the limit 'shop' with the key '7'" in why
    assert "0 before it in line, held by first" in why


def test_what_is_chosen_is_said_until_it_is_reset(romancy: Callable[..., Answer]) -> None:
    assert "whatever the code declares" in romancy("limits", "shop", "--concurrency", "5", "--rate", "10", "60").err
    assert "chosen: 5 at once, 10 in 60 s" in " ".join(romancy("limits").out.split())
    romancy("limits", "shop", "--pause")
    assert "chosen: paused, 5 at once" in " ".join(romancy("limits").out.split())
    romancy("limits", "shop", "--reset")
    assert "1 at once" in romancy("limits").out


def test_places_are_given_back(romancy: Callable[..., Answer]) -> None:
    assert "its places are given back: shop" in romancy("limits", "--free", "first").err
    assert "it has no place" in romancy("limits", "--free", "first").err
    assert "there is no instance 'nobody'" in romancy("limits", "--free", "nobody").err


def test_mistakes_are_answered(romancy: Callable[..., Answer]) -> None:
    assert "Give its name" in romancy("limits", "--pause").err
    assert "one of --pause" in romancy("limits", "shop", "--pause", "--concurrency", "2").err


PROGRAM = """
from romancy import EventType, Limit, Romancy, WorkflowContext, workflow

@workflow(limits=[Limit("one report", key="shop", concurrency=1, full="skip")])
async def report(ctx: WorkflowContext, shop: str) -> str:
    return (await ctx.wait_event("go", str)).data

app = Romancy("sqlite:///made.db", workflows=[report])
"""


@workflow(limits=[Limit("one report", key="shop", concurrency=1, full="skip")])
async def report(ctx: WorkflowContext, shop: str) -> str:
    return (await ctx.wait_event(GO)).data


async def _reported(url: str) -> None:
    async with Romancy(url, workflows=[report]) as app:
        await app.start(report.options(instance_id="report"), "7")
        with pytest.raises(StartSkippedError):
            await app.start(report.options(instance_id="skipped"), "7")


def test_a_start_that_is_skipped_has_a_code_of_its_own(romancy: Callable[..., Answer]) -> None:
    asyncio.run(_reported("sqlite:///made.db"))
    Path("reporting.py").write_text(PROGRAM, encoding="utf-8")

    skipped = romancy("start", "reporting", "report", '"7"', "--id", "skipped")
    undecided = romancy("start", "reporting", "report", '"7"', "--id", "skipped", "--undecided")

    assert (skipped.code, skipped.out) == (7, "")
    assert "no place was free at limit 'one report' with the key '7', held by report" in " ".join(skipped.err.split())
    assert (undecided.code, undecided.out) == (0, "skipped\n")
    assert romancy("start", "reporting", "report", '"7"', "--id", "report").code == 0
