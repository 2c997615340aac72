"""`romancy rewind` shows first what a rewind keeps, takes the instance back, and names what is wrong."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import msgspec

from romancy import Romancy, WorkflowContext, activity, compensation, workflow
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

done: list[str] = []


@activity
async def rewound_step(name: str) -> str:
    done.append(name)
    return name


@workflow
async def rewound(ctx: WorkflowContext) -> str:
    await rewound_step("first")
    return await rewound_step("last")


@compensation
async def rewound_undo(name: str) -> None:
    done.append(f"undo {name}")


@activity(compensation=rewound_undo)
async def rewound_order(name: str) -> str:
    done.append(name)
    return name


@workflow
async def rewound_orders(ctx: WorkflowContext) -> str:
    await rewound_order("first")
    await rewound_order("last")
    return await rewound_step("note")


async def ended(app: Romancy) -> None:
    async with app:
        await app.run(rewound.options(instance_id="r-1"))


async def result_of(url: str, instance_id: str) -> str:
    async with Romancy(url, workflows=[rewound]) as app:
        return await app.handle(instance_id, rewound).result(timeout=60)


def test_a_rewind_is_shown_refused_and_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done.clear()
    url = f"sqlite:///{tmp_path}/rewinds.db"
    app = Romancy(url, workflows=[rewound])
    monkeypatch.setattr(sys.modules[__name__], "shop", app, raising=False)
    asyncio.run(ended(app))
    romancy = runner(capsys)
    here = ("--app", f"{__name__}:shop")
    before = ("rewind", "r-1", "--before", "rewound_step:2")

    shown = romancy(*before, "--dry-run", *here)
    whole = romancy(*before, "--undo", "keep", "--dry-run", "--json", *here)
    refused = romancy(*before, *here)
    unknown = romancy("rewind", "r-1", "--before", "nothing:1", *here)
    no_point = romancy("rewind", "r-1", *here)
    no_code = romancy(*before, "--url", url)
    kept = romancy(*before, "--undo", "keep", *here)

    assert shown.code == 0
    assert ("kept        rewound_step:1" in shown.out, "stands      rewound_step:2" in shown.out) == (True, True)
    assert "cannot be rewound there" in shown.err
    assert [one["id"] for one in msgspec.json.decode(whole.out)["stands"]] == ["rewound_step:2"]
    assert (refused.code, "rewound_step:2 did something behind the point" in refused.err) == (2, True)
    assert (unknown.code, "rewound_step:1, rewound_step:2" in unknown.err) == (2, True)
    assert (no_point.code, no_code.code) == (2, 2)
    assert (kept.code, kept.out.strip()) == (0, "r-1 rewound")
    assert asyncio.run(result_of(url, "r-1")) == "last"
    assert done == ["first", "last", "last"]


def test_what_is_undone_first_is_shown_and_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done.clear()
    url = f"sqlite:///{tmp_path}/undone.db"
    app = Romancy(url, workflows=[rewound_orders])
    monkeypatch.setattr(sys.modules[__name__], "shop", app, raising=False)

    async def order() -> None:
        async with app:
            await app.run(rewound_orders.options(instance_id="r-1"))

    async def result() -> str:
        async with Romancy(url, workflows=[rewound_orders]) as app:
            return await app.handle("r-1", rewound_orders).result(timeout=60)

    asyncio.run(order())
    romancy = runner(capsys)
    here = ("--app", f"{__name__}:shop")
    rewind = ("rewind", "r-1", "--before", "rewound_order:1", "--undo", "compensate")

    shown = romancy(*rewind, "--dry-run", *here)
    whole = romancy(*rewind, "--dry-run", "--json", *here)
    rewound = romancy(*rewind, *here)
    again = romancy(*rewind, *here)

    undone = [line.split()[1] for line in shown.out.splitlines() if line.strip().startswith("undone")]
    assert undone == ["rewound_order:2", "rewound_order:1"]
    assert [one["id"] for one in msgspec.json.decode(whole.out)["undone"]] == undone
    assert (rewound.code, "goes on once" in rewound.out) == (0, True)
    assert (again.code, "is being rewound already" in again.err) == (2, True)
    assert asyncio.run(result()) == "note"
    assert done == ["first", "last", "note", "undo last", "undo first", "first", "last", "note"]
