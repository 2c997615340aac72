"""`romancy failures`: causes with their numbers, a group that is silenced, and `--error` of other commands."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, WorkflowFailedError, workflow
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.in_process import Answer


@workflow
async def cli_failing(ctx: WorkflowContext, number: int) -> None:
    raise LookupError(f"order {number} is gone" if number < 3 else f"no route to {number}")


@pytest.fixture
def romancy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run a command beside a database in which three instances have failed for two reasons."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("ROMANCY_URL", "sqlite:///made.db")
    asyncio.run(_failed("sqlite:///made.db"))
    return runner(capsys)


async def _failed(url: str) -> None:
    async with Romancy(url, workflows=[cli_failing]) as app:
        for number in (1, 2, 3):
            handle = await app.start(cli_failing.options(instance_id=f"o-{number}"), number)
            with pytest.raises(WorkflowFailedError):
                await handle.result(timeout=30)


def groups(romancy: Callable[..., Answer]) -> dict[str, str]:
    lines = [json.loads(line) for line in romancy("failures", "--all", "--json").out.splitlines()]
    return {one["text"]: one["group"] for one in lines}


def test_causes_are_listed_and_their_instances_are_found(romancy: Callable[..., Answer]) -> None:
    listed = romancy("failures")
    assert "LookupError: order … is gone" in listed.out
    assert "LookupError: no route to …" in listed.out
    found = groups(romancy)
    assert "failed  2" in romancy("count", "--error", found["order … is gone"]).out
    chosen = romancy("list", "--error", "no route").out
    assert ("o-3" in chosen, "o-1" in chosen) == (True, False)
    preview = romancy("retry", "--error", found["no route to …"], "--dry-run")
    assert ("o-3" in preview.out, "o-1" in preview.out) == (True, False)
    purged = romancy("purge", "--error", found["no route to …"], "--yes")
    assert purged.code == 0
    assert list(groups(romancy)) == ["order … is gone"]
    refused = romancy("cancel", "--error", found["order … is gone"], "--yes")
    assert (refused.code, "failed" in refused.err) == (2, True)


def test_a_group_is_silenced(romancy: Callable[..., Answer]) -> None:
    group = groups(romancy)["no route to …"]
    assert romancy("failures", "--silence", group, "--reason", "issue 42").code == 0
    assert "no route" not in romancy("failures").out
    assert "(silenced)" in romancy("failures", "--all").out
    assert romancy("failures", "--unsilence", group).code == 0
    assert "no route" in romancy("failures").out


def test_mistakes_are_named(romancy: Callable[..., Answer]) -> None:
    for wrong, said in (
        (("--silence", "x"), "no group of failures"),
        (("--silence", "f-000000000000", "--unsilence", "f-000000000000"), "not both"),
        (("--reason", "y"), "--reason is for --silence"),
        (("--limit", "0"), "--limit"),
    ):
        answer = romancy("failures", *wrong)
        assert (answer.code, said in answer.err) == (2, True), wrong
    assert romancy("failures", "--workflow", "another").out == ""
