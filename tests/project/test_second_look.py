"""A few failed tests of runs that reached their end are run again, and no others."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools import second_look, tree

if TYPE_CHECKING:
    from pathlib import Path

STORES = ("postgres", "sqlite")
TESTS = """
def test_of_two(backend):
    assert backend == ""
"""

MANY = """
import pytest
@pytest.mark.parametrize("number", range(100))
def test_one_of_many(number):
    assert number < 0
"""


def note(root: Path, **runs: tuple[int, list[str]] | None) -> None:
    (root / second_look.NOTES).mkdir(parents=True, exist_ok=True)
    for tier, run in runs.items():
        text = json.dumps(run and {"ended": run[0], "failed": run[1]})
        (root / second_look.NOTES / tier).write_text(text)


def test_a_few_failures_of_both_tiers_are_looked_at(tmp_path: Path) -> None:
    note(tmp_path, short=(second_look.PASSED, []), long=(second_look.TESTS_FAILED, ["b", "a"]), all=None)

    ended, failed = second_look.last_runs(tmp_path)

    assert (["a", "b"], None) == (failed, second_look.refusal(ended, failed))


@pytest.mark.parametrize(
    ("ended", "failed"),
    [(-1, ["a"]), (2, ["a"]), (3, ["a"]), (1, []), (1, [str(number) for number in range(second_look.MOST)])],
    ids=["cut-short", "interrupted", "internal-error", "nothing-failed", "many"],
)
def test_anything_else_is_refused(tmp_path: Path, ended: int, failed: list[str]) -> None:
    note(tmp_path, short=(second_look.TESTS_FAILED, ["one more"] if failed else []), long=(ended, failed))

    assert second_look.refusal(*second_look.last_runs(tmp_path)) is not None


def test_what_passed_alone_is_told_from_what_failed_again() -> None:
    assert second_look.verdicts(["a", "b"], ["b"]) == [
        "second look: FAILED AGAIN:",
        "  b",
        f"second look: {second_look.UNSTEADY}: failed beside others, passed alone:",
        "  a",
    ]
    assert [line for line in second_look.verdicts(["a"], []) if "AGAIN" in line] == []


def test_without_a_run_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    assert second_look.refusal(*second_look.last_runs(tmp_path)) is not None


def test_a_note_that_was_cut_short_is_of_a_run_that_was(tmp_path: Path) -> None:
    note(tmp_path, short=(second_look.TESTS_FAILED, ["a"]))
    (tmp_path / second_look.NOTES / "long").write_text("{")

    assert second_look.refusal(*second_look.last_runs(tmp_path)) is not None


@pytest.mark.long
def test_runs_of_both_tiers_leave_what_failed_in_them(tmp_path: Path) -> None:
    shutil.copy(tree.ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")

    run(tmp_path, "--tier", "short")
    after_short = second_look.last_runs(tmp_path)
    run(tmp_path, "--tier", "long")
    after_both = second_look.last_runs(tmp_path)
    run(tmp_path, "--tier", "all", "-k", "postgres")
    after_all = second_look.last_runs(tmp_path)

    failed, postgres, sqlite = second_look.TESTS_FAILED, *(f"test_some.py::test_of_two[{one}]" for one in STORES)
    assert after_short == ([failed], [sqlite])
    assert after_both == ([failed, failed], [postgres, sqlite])
    assert after_all == ([failed], [postgres])


@pytest.mark.long
def test_a_fault_that_breaks_everything_ends_the_run_early_and_gets_no_second_look(tmp_path: Path) -> None:
    makefile = (tree.ROOT / "Makefile").read_text("utf-8")
    (limit,) = re.findall(r"^PYTEST = .* --maxfail=(\d+)$", makefile, re.MULTILINE)
    shutil.copy(tree.ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_many.py").write_text(MANY, encoding="utf-8")

    run(tmp_path, "--tier", "short", "-n", "2", f"--maxfail={limit}")
    ended, failed = second_look.last_runs(tmp_path)

    assert int(limit) <= len(failed) <= 2 * int(limit)  # each process stops, whenever it hears of the other
    assert "tests failed; a second look is given to" in (second_look.refusal(ended, failed) or "")


def run(folder: Path, *options: str) -> None:
    """Run pytest there, with this tree's configuration."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-c",
        str(tree.ROOT / "pyproject.toml"),
        "--rootdir",
        str(folder),
    ]
    subprocess.run(
        [*command, "-o", f"cache_dir={folder / '.pytest_cache'}", *options, str(folder)],
        cwd=folder,
        env={
            **os.environ,
            "ROMANCY_TEST_BACKENDS": ",".join(STORES),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        check=False,
        capture_output=True,
    )
