"""`romancy debounce`, `batch` and `windows`: calls from a shell, and what their windows hold."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.in_process import Answer

CODE = """
from msgspec import Struct

from romancy import Romancy, WorkflowContext, workflow


class Row(Struct):
    number: int


@workflow
async def reindex(ctx: WorkflowContext, document: str, version: int = 0) -> str:
    return f"{document} {version}"


@workflow
async def store(ctx: WorkflowContext, rows: list[Row]) -> int:
    return sum(row.number for row in rows)


app = Romancy("sqlite:///made.db", workflows=[reindex, store])
"""


@pytest.fixture
def romancy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "of_windows", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("ROMANCY_URL", "sqlite:///made.db")
    Path("of_windows.py").write_text(CODE, "utf-8")
    asyncio.run(_made())
    return runner(capsys)


async def _made() -> None:
    async with Romancy("sqlite:///made.db", workflows=[], worker=False):
        pass


APP = "of_windows:app"


def test_calls_are_made_and_listed_without_a_worker(romancy: Callable[..., Answer]) -> None:
    assert "no window has calls" in romancy("windows").err
    for version in "12":
        call = romancy("debounce", APP, "reindex", "d:1", f'{{"document": "d", "version": {version}}}', "--wait", "1h")
        assert (call.code, call.out) == (0, "debounce:reindex:d:1\n")
    again = [romancy("batch", APP, "store", "rows", '{"number": 2}', "--size=3", "--within=2h", "--id=x") for _ in "12"]
    assert [each.out for each in again] == ["batch:store:rows\n"] * 2

    table, lines = romancy("windows").out, romancy("windows", "--json").out

    head, *rows = (" ".join(line.split()) for line in table.splitlines())
    assert head == "DUE (UTC) SINCE (UTC) CALLS WINDOW"
    assert [row.split()[-2:] for row in rows] == [["1", "batch:store:rows"], ["2", "debounce:reindex:d:1"]]
    batch, debounce = map(json.loads, lines.splitlines())
    assert (batch["kind"], batch["workflow"], batch["key"], batch["calls"]) == ("batch", "store", "rows", 1)
    assert (debounce["window_id"], debounce["calls"], debounce["started"]) == ("debounce:reindex:d:1", 2, 0)
    assert debounce["since"] < debounce["due"]


def test_a_window_is_shown_flushed_and_dropped(romancy: Callable[..., Answer]) -> None:
    romancy("debounce", APP, "reindex", "d1", '"d"', "--wait", "1h")
    shown = romancy("windows", "debounce:reindex:d1")
    assert "debounce:reindex:d1: debounce of reindex for the key 'd1'; 1 call since" in shown.out
    assert "a worker carries it out" in romancy("windows", "debounce:reindex:d1", "--flush").err
    assert romancy("windows").out == ""
    romancy("debounce", APP, "reindex", "d1", '"d"', "--wait", "1h")
    assert json.loads(romancy("windows", "debounce:reindex:d1", "--json").out)["calls"] == 1
    romancy("windows", "debounce:reindex:d1", "--drop")
    assert json.loads(romancy("windows", "debounce:reindex:d1", "--json").out)["calls"] == 0


def test_a_window_that_is_over_is_told_nothing(romancy: Callable[..., Answer]) -> None:
    romancy("debounce", APP, "reindex", "d1", '"d"', "--wait", "1h")
    assert romancy("terminate", "debounce:reindex:d1").code == 0
    assert "it has ended, and has no calls" in romancy("windows", "debounce:reindex:d1", "--flush").err
    assert "no calls" in romancy("windows", "debounce:reindex:d1").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["debounce", APP, "reindx", "k", '"d"', "--wait", "1h"], 2, "reindex"),
        (["debounce", APP, "reindex"], 2, "KEY"),
        (["debounce", APP, "reindex", "k", '"d"'], 2, "--wait"),
        (["debounce", APP, "reindex", "k", '"d"', "--wait", "0s"], 2, "wait= must be more than 0 seconds"),
        (["debounce", APP, "reindex", "k", '"d"', "--wait", "2h", "--max-wait", "1h"], 2, "max_wait= is shorter"),
        (["debounce", APP, "reindex", "k", "5", "--wait", "1h"], 2, "the input does not fit workflow reindex"),
        (["debounce", APP, "reindex", "k", "--wait", "1h"], 2, "no input was given"),
        (["debounce", APP, "reindex", "k" * 300, '"d"', "--wait", "1h"], 2, "key"),
        (["debounce", APP, "reindex", "k", '"d"', "--wait", "1h", "--id", ""], 2, "id="),
        (["batch", APP, "store", "k", '{"number": "x"}', "--size", "2", "--within", "1h"], 2, "the item does not fit"),
        (["batch", APP, "store", "k", '{"number": 1}, {"number": 2}', "--size=2", "--within=1h"], 2, "does not fit"),
        (["batch", APP, "store", "k", "--size", "2", "--within", "1h"], 2, "no item was given"),
        (["batch", APP, "store", "k", '{"number": 1}', "--size", "0", "--within", "1h"], 2, "size="),
        (["batch", APP, "reindex", "k", "1", "--size", "2", "--within", "1h"], 2, "takes one list"),
        (["windows", "--flush"], 2, "which window"),
        (["windows", "debounce:reindex:none"], 3, "there is no window"),
        (["windows", "debounce:reindex:none", "--drop"], 3, "there is no window"),
        (["windows", "nonsense", "--drop"], 3, "there is no window"),
    ],
)
def test_what_makes_no_sense_is_refused(
    romancy: Callable[..., Answer], arguments: list[str], code: int, said: str
) -> None:
    answer = romancy(*arguments)
    assert answer.code == code, answer.err
    assert said in " ".join(answer.err.split())
    assert romancy("list", "--json").out == ""
