"""`.ci/run` reports every job and leaves no process behind: no detached one, and none when interrupted.

The script runs here beside a Makefile of a few lines: the test checks the script, not this suite inside itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools import tree

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, as the script does")

FRESH = "test-fresh:\n\t@echo fresh $(ARGS)\n"
DETACHED = "\tsetsid --fork sh -c 'echo $$$$ > pid; exec sleep 600' </dev/null >/dev/null 2>&1\n"
WAIT_FOR_PID = "\tuntil test -s pid; do sleep 0.05; done\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".ci").mkdir()
    shutil.copy(tree.ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    return tmp_path


# The make that runs this suite sets these; the make that the script runs is separate.
SET_BY_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}


def start(checkout: Path, makefile: str, docs: str = "true") -> subprocess.Popen[str]:
    (checkout / "Makefile").write_text(f"{makefile}docs:\n\t@{docs}\nsimulate:\n\t@echo simulated\n")
    return subprocess.Popen(
        ["bash", ".ci/run"],
        cwd=checkout,
        env={name: value for name, value in os.environ.items() if name not in {"CI", *SET_BY_MAKE}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def jobs_of(output: str) -> list[str]:
    return [
        line for line in output.splitlines() if line in {"checked", "tested", "fresh", "long", "simulated", "again"}
    ]


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_success_is_success_and_the_jobs_know_that_they_are_in_ci(checkout: Path) -> None:
    tests = f"test:\n\t@echo CI=$$CI; read line || echo no input\n{FRESH}test-long:\n\t@echo long\n"
    run = start(checkout, f"check:\n\t@echo checked\n{tests}")
    output, _ = run.communicate(timeout=200)

    assert (0, "checked\nCI=true\nno input\nfresh --quick\nlong\nsimulated\n") == (run.returncode, output)


def test_a_failed_check_fails_the_run_and_the_tests_run_all_the_same(checkout: Path) -> None:
    run = start(checkout, f"check:\n\t@echo checked; false\ntest:\n\t@echo tested\n{FRESH}test-long:\n\t@echo long\n")
    output, _ = run.communicate(timeout=200)

    assert run.returncode != 0
    assert ["checked", "tested", "long", "simulated"] == jobs_of(output)


def test_pages_that_cannot_be_built_fail_the_run(checkout: Path) -> None:
    run = start(checkout, f"check:\ntest:\n\t@echo tested\n{FRESH}test-long:\n\t@echo long\n", docs="false")
    output, _ = run.communicate(timeout=200)

    assert run.returncode != 0
    assert ["tested", "long", "simulated"] == jobs_of(output)


def test_a_fresh_machine_that_fails_fails_the_run_without_a_second_look(checkout: Path) -> None:
    run = start(checkout, "check:\ntest:\ntest-fresh:\n\t@echo fresh; false\ntest-long:\n\t@echo long\n")
    output, _ = run.communicate(timeout=200)

    assert run.returncode != 0
    assert ["fresh", "long", "simulated"] == jobs_of(output)


@pytest.mark.parametrize(("short", "long"), [("false", "true"), ("true", "false"), ("false", "false")])
@pytest.mark.parametrize(("again", "fails"), [("true", False), ("false", True)])
def test_failed_tests_of_either_tier_get_a_second_look(
    checkout: Path,
    short: str,
    long: str,
    again: str,
    fails: bool,  # noqa: FBT001 - a case
) -> None:
    tiers = f"test:\n\t@echo tested; {short}\ntest-long:\n\t@echo long; {long}\n"
    run = start(checkout, f"check:\n{FRESH}{tiers}test-again:\n\t@echo again; {again}\n")
    output, _ = run.communicate(timeout=200)

    assert fails == (run.returncode != 0)
    assert ["tested", "long", "simulated", "again"] == jobs_of(output)


def test_a_detached_process_is_named_and_ended_and_fails_the_run(checkout: Path) -> None:
    run = start(checkout, f"check:\n{FRESH}test:\n{DETACHED}{WAIT_FOR_PID}test-long:\n")
    output, _ = run.communicate(timeout=200)

    pid = int((checkout / "pid").read_text())
    assert run.returncode == 1
    assert f"left behind: {pid} sleep 600" in output
    assert not is_running(pid)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_what_it_started(checkout: Path, signum: signal.Signals) -> None:
    run = start(checkout, f"check:\ntest:\n{DETACHED}{WAIT_FOR_PID}\t@echo ready\n\t@sleep 600\ntest-long:\n")
    assert run.stdout is not None
    while "ready" not in run.stdout.readline():
        assert run.poll() is None
    run.send_signal(signum)
    run.communicate(timeout=200)

    assert run.returncode == 128 + signum
    assert not is_running(int((checkout / "pid").read_text()))
