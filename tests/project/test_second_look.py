"""A second look is given to a few failed tests of a run that reached its end, and to nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tools import second_look

if TYPE_CHECKING:
    from pathlib import Path


def note(root: Path, ended: int, failed: list[str]) -> None:
    for name, value in {"romancy/exit": ended, "cache/lastfailed": dict.fromkeys(failed, True)}.items():
        file = root / second_look.CACHE / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))


def test_a_few_failures_of_a_whole_run_are_looked_at(tmp_path: Path) -> None:
    note(tmp_path, second_look.TESTS_FAILED, ["b", "a"])

    ended, failed = second_look.last_run(tmp_path)

    assert (second_look.TESTS_FAILED, ["a", "b"], None) == (ended, failed, second_look.refusal(ended, failed))


@pytest.mark.parametrize(
    ("ended", "failed"),
    [(-1, ["a"]), (2, ["a"]), (3, ["a"]), (1, []), (1, [str(number) for number in range(second_look.MOST + 1)])],
    ids=["cut-short", "interrupted", "internal-error", "nothing-failed", "many"],
)
def test_anything_else_is_refused(tmp_path: Path, ended: int, failed: list[str]) -> None:
    note(tmp_path, ended, failed)

    assert second_look.refusal(*second_look.last_run(tmp_path)) is not None


def test_without_a_run_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    assert second_look.refusal(*second_look.last_run(tmp_path)) is not None
