"""`romancy fork` shows first what a fork keeps, begins it, and names what is wrong."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
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


@dataclass
class Wish:
    last: str


@workflow
async def wished(ctx: WorkflowContext, wish: Wish) -> str:
    await forked_step("first")
    return await forked_step(wish.last)


async def wish_ended(app: Romancy) -> None:
    async with app:
        await app.run(wished.options(instance_id="w-1"), Wish("last"))


async def ended(app: Romancy) -> None:
    async with app:
        await app.run(forked.options(instance_id="f-1"), "last")


async def result_of(url: str, instance_id: str) -> str:
    async with Romancy(url, workflows=[forked, wished]) as app:
        return str(await app.handle(instance_id).result(timeout=60))


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
    misfit = romancy("fork", "f-1", "--at", "1", "--input", "1", *here)
    other = romancy("fork", "f-1", "--before", "forked_step:2", "--id", "f-2", "--input", '"new"', *here)
    again = romancy("fork", "f-1", "--before", "forked_step:2", "--id", "f-2", "--input", '"other"', *here)
    no_code = romancy("fork", "f-1", "--at", "1", "--url", url)

    assert shown.code == 0
    assert ("kept        forked_step:1" in shown.out, "left out    forked_step:2" in shown.out) == (True, True)
    assert [one["id"] for one in msgspec.json.decode(whole.out)["kept"]] == ["forked_step:1"]
    assert (made.code, made.out.strip()) == (0, "f-2")
    assert (unknown.code, "forked_step:1, forked_step:2" in unknown.err) == (2, True)
    assert (no_point.code, no_code.code) == (2, 2)
    assert (misfit.code, "'last' of workflow 'forked': expected str, got int" in misfit.err) == (2, True)
    assert (other.code, "is not this fork" in other.err) == (4, True)
    assert (again.code, again.out) == (0, made.out)
    assert asyncio.run(result_of(url, "f-2")) == "other"


def test_new_arguments_are_read_as_their_types(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/wishes.db"
    app = Romancy(url, workflows=[wished])
    monkeypatch.setattr(sys.modules[__name__], "shop", app, raising=False)
    asyncio.run(wish_ended(app))
    romancy = runner(capsys)
    call = ("fork", "w-1", "--before", "forked_step:2", "--app", f"{__name__}:shop", "--input")

    by_name = romancy(*call, '{"wish": {"last": "other"}}')
    alone = romancy(*call, '{"last": "third"}')

    assert asyncio.run(result_of(url, by_name.out.strip())) == "other"
    assert asyncio.run(result_of(url, alone.out.strip())) == "third"
