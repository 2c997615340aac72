"""Every command shows sealed payloads as sealed, and in clear if it gets an app with the codec."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy.status import Status
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.commands.buying import APPROVED, approval, standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from romancy_conformance.behaviour.commands.buying import Command

SECRET = "swordfish"
APP = """
from romancy import Romancy
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.commands.buying import approval

app = Romancy({url!r}, workflows=[approval], codecs=[Masking()])
"""


@pytest.fixture
def sealed(url: str) -> str:
    """An instance that waits; its input, its activity and its unread message contain a secret."""

    async def prepare() -> None:
        async with Romancy(url, workflows=[approval], codecs=[Masking()]) as app:
            await app.start(approval.options(instance_id="s-1"), f"a {SECRET} lamp", 250)
            while not await standing("s-1", Status.WAITING)(app):  # noqa: ASYNC110 - another worker may do it
                await asyncio.sleep(0.02)
        async with Romancy(url, workflows=[approval], codecs=[Masking()], worker=False) as app:
            await app.signal("s-1", APPROVED, SECRET)

    asyncio.run(prepare())
    return "s-1"


@pytest.fixture
def app(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An app with the codec, in its own module."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "with_the_codec.py").write_text(APP.format(url=url), "utf-8")
    yield "with_the_codec:app"
    sys.modules.pop("with_the_codec", None)


def test_without_the_codec_nothing_sealed_is_shown_and_the_way_to_it_is_said(sealed: str, romancy: Command) -> None:
    listed = romancy("list")
    (record,) = romancy("list", "--json").records
    answers = [romancy(command, sealed) for command in ("show", "why", "history", "watch")]
    shown = romancy("show", sealed, "--json")

    assert (None, True, "approval") == (record["input"], record["input_sealed"], record["workflow"])
    assert [5, 5, 5, 5] == [answer.code for answer in answers]
    assert all("--app MODULE:APP" in answer.err and "mask:1" in answer.err for answer in answers)
    assert "waiting" in answers[0].out
    assert "sealed by a codec" in answers[0].out
    assert [("s-1", True)] == [(one["instance_id"], one["log_sealed"]) for one in shown.records]
    assert not any(SECRET in answer.out + answer.err for answer in (listed, shown, *answers))


def test_an_app_that_has_the_codec_shows_it_in_clear(sealed: str, app: str, romancy: Command) -> None:
    (record,) = romancy("list", "--app", app, "--json").records
    answers = [romancy(command, sealed, "--app", app) for command in ("show", "why", "history")]

    assert {"item": f"a {SECRET} lamp", "amount": 250} == record["input"]
    assert [0, 0, 0] == [answer.code for answer in answers], answers
    assert all(SECRET in answers[at].out for at in (0, 2))


def test_results_in_a_list_need_the_codec(url: str, app: str, romancy: Command) -> None:
    async def prepare() -> None:
        async with Romancy(url, workflows=[approval], codecs=[Masking()]) as sealing:
            handle = await sealing.start(approval.options(instance_id="s-2"), "lamp", 250)
            await handle.signal(APPROVED, SECRET)
            assert SECRET == await handle.result()
            await sealing.start(approval.options(instance_id="s-3"), "lamp", 250)

    asyncio.run(prepare())

    opened = romancy("list", "--json", "--results", "--app", app).records
    sealed = romancy("list", "--json", "--results")
    bare = romancy("list", "--results")

    assert {"s-2": SECRET, "s-3": None} == {one["instance_id"]: one["result"] for one in opened}
    assert {"s-2": None, "s-3": None} == {one["instance_id"]: one["result"] for one in sealed.records}
    (told,) = [one["result_unreadable"] for one in sealed.records if "result_unreadable" in one]
    assert "mask:1" in told
    assert SECRET not in sealed.out + sealed.err
    assert (2, True) == (bare.code, "--results goes with --json" in bare.err)
