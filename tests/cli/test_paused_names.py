"""`romancy pause --activity` and `--starts`: names that are paused, in the list of workers until they are unpaused."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.in_process import Answer


@pytest.fixture
def romancy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run a command beside an empty database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("ROMANCY_URL", "sqlite:///made.db")
    asyncio.run(_made("sqlite:///made.db"))
    return runner(capsys)


async def _made(url: str) -> None:
    async with Romancy(url, workflows=[], worker=False):
        pass


def test_an_activity_is_paused_listed_and_unpaused(romancy: Callable[..., Answer]) -> None:
    assert "charge: no attempt begins" in romancy("pause", "--activity", "charge", "--reason", "the bank is down").err
    listed = romancy("workers").err
    assert "activity charge is paused since" in listed
    assert "because: the bank is down" in listed
    assert "no worker is registered" in listed
    again = romancy("pause", "--activity", "charge")
    assert again.code
    assert "paused already because the bank is down" in again.err
    assert "attempts begin again" in romancy("unpause", "--activity", "charge").err
    assert "paused" not in romancy("workers").err


def test_the_starts_of_a_workflow_are_paused_listed_and_unpaused(romancy: Callable[..., Answer]) -> None:
    assert "order: starts wait until" in romancy("pause", "--starts", "order", "--reason", "the shop is closed").err
    assert "workflow order is paused since" in romancy("workers").err
    listed = json.loads(romancy("workers", "--json").out)
    assert listed.pop("since").endswith("Z")
    assert listed == {"paused": "workflow", "name": "order", "reason": "the shop is closed"}
    again = romancy("pause", "--starts", "order")
    assert again.code
    assert "workflow 'order' is paused already because the shop is closed" in again.err
    assert "starts begin again" in romancy("unpause", "--starts", "order").err
    assert "paused" not in romancy("workers").err
    assert "workflow 'order' is not paused" in romancy("unpause", "--starts", "order").err


@pytest.mark.parametrize("more", [["an-id"], ["--workflow", "order"], ["--starts", "order"]])
def test_a_name_goes_without_instances(romancy: Callable[..., Answer], more: list[str]) -> None:
    for command in ("pause", "unpause"):
        answer = romancy(command, "--activity", "charge", *more)
        assert answer.code
        assert "--activity and --starts go neither together, nor with an ID or a filter" in answer.err
