"""How a run of the tests ends: it does, even if a test does not, and its last lines name each failed test.

They are found there although the log was cut.
"""

from __future__ import annotations

import os
import re
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

HANGING = """
import asyncio
import pytest

pytestmark = pytest.mark.timeout(1)

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture
async def opened():
    yield

@pytest.fixture
async def never_closed():
    yield
    await asyncio.Event().wait()

@pytest.mark.anyio
async def test_waits(opened):
    await asyncio.Event().wait()

@pytest.mark.anyio
async def test_is_not_torn_down(never_closed):
    assert "one" == "two"

@pytest.mark.parametrize("number", range(6))
def test_passes(number):
    pass
"""

FROZEN = """
import os
import signal
import threading
import pytest

def test_is_frozen():
    os.kill(os.getpid(), signal.SIGSTOP)
    threading.Event().wait()

@pytest.mark.parametrize("number", range(6))
def test_passes(number):
    pass
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


@pytest.mark.long
def test_the_process_of_a_test_that_hangs_is_ended_and_the_other_tests_run(tmp_path: Path) -> None:
    """pytest-timeout alone does not end these tests: it does not watch a tear-down after a failure."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(HANGING, encoding="utf-8")

    said = run(tmp_path, "-n", "2", "-o", "timeout_grace=1")

    for test in ("test_waits", "test_is_not_torn_down"):
        assert f"test_some.py::{test} has not ended after 2 s; its process ends here:" in said
        assert re.search(rf"FAILED test_some.py::{test} - worker 'gw.' crashed", said)
    assert " in test_waits\n" in said, "where it waits"
    assert "4 failed, 6 passed" in said


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="no process is frozen by a signal there")
def test_a_run_that_reports_nothing_says_where_its_processes_are_and_goes_on(tmp_path: Path) -> None:
    """A frozen process cannot end itself, and the distributing process would wait for it for ever."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(FROZEN, encoding="utf-8")

    said = run(tmp_path, "-n", "2", "-o", "silence=5")

    assert "no test began or ended for 5 s; the test processes end here:" in said
    assert re.search(r"FAILED test_some.py::test_is_frozen - worker 'gw.' crashed", said)
    assert " in test_is_frozen\n" in said, "where it is"
    assert "1 failed, 6 passed" in said


@pytest.mark.long
def test_a_test_that_somebody_debugs_has_all_the_time_it_needs(tmp_path: Path) -> None:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    test = "import pytest\n@pytest.mark.timeout(1)\ndef test_looked_into():\n    breakpoint()\n"
    (tmp_path / "test_some.py").write_text(test, encoding="utf-8")

    said = run(tmp_path, "-n", "0", "-o", "timeout_grace=1", typed="import time; time.sleep(4)\ncontinue\n")

    assert "1 passed" in said


def run(folder: Path, *options: str, typed: str = "") -> str:
    """Return what pytest printed there, with this tree's configuration, when somebody has typed this."""
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), *options]
    done = subprocess.run(
        [*command, str(folder)],
        cwd=folder,
        input=typed,
        env={
            **os.environ,
            "ROMANCY_TEST_BACKENDS": "sqlite",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "COLUMNS": "200",
        },
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout
