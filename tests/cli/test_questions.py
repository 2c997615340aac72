"""`romancy ask`: lists what workflows ask, answers it, and refuses to."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, workflow
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.in_process import Answer


@workflow
async def hired(ctx: WorkflowContext, name: str) -> str:
    return f"{name}: {await ctx.ask(f'Hire {name}?', name='hire', to='hr')}"


@pytest.fixture
def romancy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run a command on the database `made.db` of an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROMANCY_URL", "sqlite:///made.db")
    monkeypatch.setenv("COLUMNS", "200")
    return runner(capsys)


async def asked() -> list[str]:
    """Start two that ask, and close the app once they do."""
    async with Romancy("sqlite:///made.db", workflows=[hired]) as app:
        handles = [await app.start(hired, name) for name in ("ann", "bob")]
        while len((await app.questions()).questions) < len(handles):
            pass
        return [one.instance_id for one in handles]


async def outcomes(ids: list[str]) -> list[str]:
    """What they return, or why they fail."""
    async with Romancy("sqlite:///made.db", workflows=[hired]) as app:
        ended = await asyncio.gather(*(app.handle(one).result(timeout=60) for one in ids), return_exceptions=True)
        return list(map(str, ended))


def test_people_answer_while_no_worker_runs(romancy: Callable[..., Answer]) -> None:
    ids = asyncio.run(asked())

    lines = [json.loads(line) for line in romancy("ask", "list", "--to", "hr", "--json").out.splitlines()]
    assert [one["question"] for one in lines] == ["Hire ann?", "Hire bob?"]
    table = romancy("ask", "list").out
    assert "Hire ann?" in table
    assert lines[0]["token"] in table
    assert romancy("ask", "list", "--to", "board").out == ""

    misfit = romancy("ask", "answer", lines[0]["token"], '"yes"')
    assert (misfit.code, "boolean is expected" in misfit.err) == (2, True)
    assert romancy("ask", "answer", lines[0]["token"], "true", "--by", "eve").code == 0
    late = romancy("ask", "answer", lines[0]["token"], "false")
    assert (late.code, "is answered by eve" in late.err) == (4, True)
    assert romancy("ask", "refuse", lines[1]["token"], "no money").code == 0
    assert romancy("ask", "answer", "x.y", "true").code == 3

    first, second = asyncio.run(outcomes(ids))
    assert first == "ann: True"
    assert "was refused: no money" in second
