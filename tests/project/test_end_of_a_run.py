"""The end of a test run's output: each failed test in one line, so that it is found where the log was cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no such luck")

def test_kept():
    pass

@pytest.mark.parametrize("number", [1, 2])
def test_wrong(number):
    assert "one" == "two", "they\\nare many"

def test_set_up(broken):
    pass

def test_left_out():
    pytest.skip("capability: it cannot")

def test_left_out_elsewhere():
    pytest.skip("capability: it cannot")
"""


@pytest.mark.long
def test_what_failed_stands_behind_the_counts_of_several_processes(tmp_path: Path) -> None:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")

    lines = run(tmp_path, "-n", "2").splitlines()

    (counts,) = [at for at, line in enumerate(lines) if "2 failed, 1 passed, 2 skipped, 1 error" in line]
    assert sorted(lines[counts + 1 :]) == [
        "ERROR test_some.py::test_set_up - RuntimeError: no such luck",
        "FAILED test_some.py::test_wrong[1] - AssertionError: they",
        "FAILED test_some.py::test_wrong[2] - AssertionError: they",
    ]
    assert [line for line in lines if "it cannot" in line] == ["2 × capability: it cannot"]


def test_a_file_that_cannot_be_read_is_named_too(tmp_path: Path) -> None:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text("import nothing_of_the_kind", encoding="utf-8")

    last = run(tmp_path).splitlines()[-1]

    assert last.startswith("ERROR test_some.py - ")


def run(folder: Path, *options: str) -> str:
    """Return what pytest printed there, with this tree's configuration."""
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), *options]
    done = subprocess.run(
        [*command, str(folder)],
        cwd=folder,
        env={
            **os.environ,
            "ROMANCY_TEST_BACKENDS": "sqlite",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "COLUMNS": "200",
        },
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout
