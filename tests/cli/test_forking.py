"""`romancy fork` shows first what a fork keeps, begins it, and names what is wrong."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import msgspec

from romancy import Romancy, WorkflowContext, activity, workflow
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


@activity
async def forked_step(name: str) -> str:
    return name


@workflow
async def forked(ctx: WorkflowContext, last: str) -> str:
    await forked_step("first")
    return await forked_step(last)


async def ended(app: Romancy) -> None:
    async with app:
        await app.run(forked.options(instance_id="f-1"), "last")


async def result_of(url: str, instance_id: str) -> str:
    async with Romancy(url, workflows=[forked]) as app:
        return await app.handle(instance_id, forked).result(timeout=60)


def test_a_fork_is_shown_begun_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/forks.db"
    app = Romancy(url, workflows=[forked])
    monkeypatch.setattr(sys.modules[__name__], "shop", app, raising=False)
    asyncio.run(ended(app))
    romancy = runner(capsys)
    here = ("--app", f"{__name__}:shop")

    shown = romancy("fork", "f-1", "--before", "forked_step:2", "--dry-run", *here)
    whole = romancy("fork", "f-1", "--at", "2", "--dry-run", "--json", *here)
    made = romancy("fork", "f-1", "--before", "forked_step:2", "--id", "f-2", "--input", '{"last": "other"}', *here)
    unknown = romancy("fork", "f-1", "--before", "nothing:1", *here)
    no_point = romancy("fork", "f-1", *here)
    no_object = romancy("fork", "f-1", "--at", "1", "--input", "1", *here)
    no_code = romancy("fork", "f-1", "--at", "1", "--url", url)

    assert shown.code == 0
    assert ("kept        forked_step:1" in shown.out, "left out    forked_step:2" in shown.out) == (True, True)
    assert [one["id"] for one in msgspec.json.decode(whole.out)["kept"]] == ["forked_step:1"]
    assert (made.code, made.out.strip()) == (0, "f-2")
    assert (unknown.code, "forked_step:1, forked_step:2" in unknown.err) == (2, True)
    assert (no_point.code, no_object.code, no_code.code) == (2, 2, 2)
    assert asyncio.run(result_of(url, "f-2")) == "other"
