"""The page "Where it runs" shows what the runs recorded, and a release needs runs of its own code."""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tools import release_check
from tools.machines import page, parts, pythons, records, resolutions, suite, wheels
from tools.machines.interpreters import VERSIONS
from tools.machines.records import Run
from tools.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RUN: Final = Run("Debian 12", "CPython 3.11.2", "SQLite", "a suite", 5, 0, 1, "c0ffee00", "2026-11-24")
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def git(*arguments: str, folder: Path) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    done = subprocess.run(["git", *names, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A tree with one commit, of which records are written."""
    for name in records.PRODUCT:
        (tmp_path / name).write_text("1")
    git("init", "--quiet", folder=tmp_path)
    git("add", ".", folder=tmp_path)
    git("commit", "--quiet", "-m", "a", folder=tmp_path)
    monkeypatch.setattr(records, "ROOT", tmp_path)
    monkeypatch.setattr(records, "RECORDS", tmp_path / "records" / "runs.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.PAGE.write_text((ROOT / "docs" / "where-it-runs.md").read_text("utf-8"), "utf-8")
    return tmp_path


def recorded(*, passed: int = 5, failed: int = 0, required: bool = True) -> list[Run]:
    counts = {"passed": passed, "failed": failed, "skipped": 1}
    records.record("Debian 12", "CPython 3.11.2", "SQLite", "a suite", **counts, required=required)
    return records.read()


def test_the_page_shows_what_the_runs_recorded() -> None:
    written = page.PAGE.read_text("utf-8")

    assert page.with_tables(written, records.read(), page.read_answers()) == written, (
        "run `python -m tools.machines.records`"
    )


def test_a_run_is_a_row_and_a_missing_wheel_is_named() -> None:
    answers = {"date": "2026-11-24", "packages": ["a 1"], "missing": {"Linux": {"3.11": [], "3.12": ["a"]}}}

    assert "| Debian 12 | CPython 3.11.2 | SQLite | a suite | 5 | 0 | 1 | `c0ffee00` | 2026-11-24 |" in page.of_runs(
        [RUN]
    )
    assert "| system | 3.11 | 3.12 |\n|---|---|---|\n| Linux | all | without a |" in page.of_wheels(answers)


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the mark <!-- runs"):
        page.with_tables("# A page\n", [RUN], page.read_answers())


def test_the_wheels_are_those_of_the_lock_file() -> None:
    assert wheels.all_pinned() == page.read_answers()["packages"], "run `make test-wheels`"


def test_a_run_writes_the_page(tree: Path) -> None:
    runs = recorded()

    assert page.of_runs(runs) in page.PAGE.read_text("utf-8")


def test_a_later_run_of_the_same_replaces_the_former_one(tree: Path) -> None:
    recorded(passed=3)

    assert [(5, 0, 1)] == [(run.passed, run.failed, run.skipped) for run in recorded()]


def test_a_record_is_valid_as_long_as_the_product_stays_the_same(tree: Path) -> None:
    runs = recorded()
    (tree / "README.md").write_text("2")
    git("add", ".", folder=tree)
    git("commit", "--quiet", "-m", "b", folder=tree)

    assert [] == list(records.problems(runs))

    (tree / "romancy").write_text("2")
    git("commit", "--quiet", "--all", "-m", "c", folder=tree)

    assert [f"ran at {runs[0].commit}, and the code has changed since; run it again"] == [
        problem.partition("suite: ")[2] for problem in records.problems(runs)
    ]


def test_a_record_of_uncommitted_changes_or_of_an_unknown_commit_is_refused(tree: Path) -> None:
    (tree / "backends").write_text("2")

    assert "changes that were not committed" in next(records.problems(recorded()))
    assert "ran at c0ffee00" in next(records.problems([RUN]))


@pytest.mark.parametrize(("passed", "failed"), [(5, 1), (0, 0)])
def test_a_run_that_failed_or_ran_nothing_is_refused_if_it_is_required(tree: Path, passed: int, failed: int) -> None:
    assert f"{passed} tests passed and {failed} failed" in next(
        records.problems(recorded(passed=passed, failed=failed))
    )
    assert [] == list(records.problems(recorded(passed=passed, failed=failed, required=False)))


def test_a_release_needs_a_run_on_each_python_and_of_each_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = [
        *(replace(RUN, python=f"CPython {version}.1", what=pythons.WHAT) for version in VERSIONS),
        *(replace(RUN, what=resolutions.what(part)) for part in parts.PARTS),
    ]

    def lacking(runs: list[Run]) -> list[str]:
        monkeypatch.setattr(records, "read", lambda: runs)
        return [problem for problem in release_check.unshown() if "no run" in problem]

    assert [] == lacking(everything)
    assert ["on Python 3.11; run `make test-pythons ARGS=3.11`"] == [
        problem.partition("no run ")[2] for problem in lacking(everything[1:])
    ]
    assert "no run of the lowest versions of romancy[conformance]" in lacking(everything[:-1])[0]


def test_the_classifiers_name_the_pythons_that_are_tried() -> None:
    named = [line.rpartition(" :: ")[2] for line in PROJECT["classifiers"] if ":: Python :: 3." in line]

    assert list(VERSIONS) == named


def test_each_extra_has_tests_of_its_floors() -> None:
    extras = {part.extra for part in parts.PARTS} | set(parts.ALIASES)
    paths = [path for part in parts.PARTS for path in (*part.tests, *part.sample, *part.without)]

    assert set(PROJECT["optional-dependencies"]) | {""} == extras
    assert [] == [path for path in paths if not (ROOT / path.partition("::")[0]).exists()]


def test_a_report_is_counted(tmp_path: Path) -> None:
    report = tmp_path / "tests.xml"
    report.write_text(
        '<testsuites><testsuite errors="1" failures="2" skipped="3" tests="10"/></testsuites>', encoding="utf-8"
    )

    assert suite.Counts(4, 3, 3) == suite.counted(report)
