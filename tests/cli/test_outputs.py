"""Where a command writes: a closed or full stdout is seen before it acts, and text for a program is not broken."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.status import Status
from romancy_conformance.behaviour.waiting import status_is

ROMANCY: Final = (sys.executable, "-m", "romancy")
SCRIPT: Final = (str(Path(sys.executable).with_name("romancy")),)
LONG: Final = "a rather long text, " * 20
LONG_ID: Final = "order-" + "x" * 200


@workflow
async def waits(ctx: WorkflowContext, text: str) -> None:
    await ctx.report({"text": text})
    await ctx.wait_event("paid")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with an instance that waits, without a worker."""
    made = f"sqlite:///{tmp_path / 'made.db'}"

    async def prepare() -> None:
        async with Romancy(made, workflows=[waits]) as app:
            await app.start(waits.options(instance_id=LONG_ID), LONG)
            await status_is(app, LONG_ID, Status.WAITING)

    asyncio.run(prepare())
    return made


def run(command: str, url: str, redirected: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell, with its output redirected."""
    words = f"{shlex.join(ROMANCY)} {command} --url {shlex.quote(url)}"
    known = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | environment
    return subprocess.run(
        ["bash", "-c", f"{words} {redirected}"], env=known, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("command", "redirected"),
    [
        (f"cancel {LONG_ID}", ">&-"),
        (f"cancel {LONG_ID}", ">&- 2>&-"),
        (f"signal {LONG_ID} paid", ">/dev/full"),
        ("list", ">/dev/full"),
        ("list --json", ">&-"),
        ("migrate", ">/dev/full"),
    ],
)
def test_a_stdout_that_takes_nothing_is_seen_before_the_command_acts(url: str, command: str, redirected: str) -> None:
    done = run(command, url, redirected)

    assert 1 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    if "2>&-" not in redirected:
        assert 1 == len(done.stderr.splitlines())
        assert "nothing was done: stdout" in done.stderr
    assert "requested" not in run(f"why {LONG_ID}", url).stdout


@pytest.mark.parametrize("redirected", [">/dev/full", ">&-"])
def test_help_to_a_stdout_that_takes_nothing_is_no_traceback(url: str, redirected: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{shlex.join(ROMANCY)} --help {redirected}"], capture_output=True, text=True, check=False
    )

    assert "Traceback" not in done.stderr
    assert (1 if "full" in redirected else 0) == done.returncode


def test_a_closed_stderr_is_no_traceback(url: str) -> None:
    assert (0, True) == ((done := run("list", url, "2>&-")).returncode, LONG_ID in done.stdout)
    assert 5 == run("list", f"{url}.nowhere", "2>&-").returncode


def test_text_for_a_program_is_not_broken(url: str) -> None:
    history = run(f"history {LONG_ID}", url).stdout
    listed = run("list", url).stdout

    assert any(LONG in line for line in history.splitlines())
    assert all(line[:2].isdigit() for line in history.splitlines())
    assert LONG_ID in listed
    assert LONG_ID in run("list", url, "| cat").stdout


def test_columns_says_how_wide_lines_may_be(url: str) -> None:
    history = run(f"history {LONG_ID}", url, COLUMNS="80").stdout

    assert max(map(len, history.splitlines())) <= 80
    assert LONG not in history


@pytest.mark.parametrize("command", ["signal {} paid", "resume {}"])
def test_a_command_that_is_not_for_an_ended_instance_is_a_conflict(url: str, command: str) -> None:
    assert 0 == run(f"terminate {LONG_ID}", url).returncode

    done = run(command.format(LONG_ID), url)

    assert (4, "") == (done.returncode, done.stdout)
    assert 1 == len(done.stderr.splitlines())


@pytest.mark.parametrize("command", ["retry {}", "resume {}", "purge {}"])
def test_a_command_that_is_not_for_an_open_instance_is_a_conflict(url: str, command: str) -> None:
    assert 4 == run(command.format(LONG_ID), url).returncode


@pytest.mark.long
@pytest.mark.parametrize("command", [ROMANCY, SCRIPT], ids=["module", "script"])
def test_ctrl_c_while_the_command_is_imported_is_no_traceback(command: tuple[str, ...], tmp_path: Path) -> None:
    """It is sent when the first module of the package is being read; before that, only Python itself has run."""
    slow = tmp_path / "sitecustomize.py"
    slow.write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == sys.argv_name: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.argv_name = os.environ['INTERRUPT_AT']\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    for name in ("romancy.activity", "romancy.cli", "click", "romancy.cli._working"):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "INTERRUPT_AT": name}
        done = subprocess.run([*command, "--version"], env=environment, capture_output=True, text=True, check=False)

        assert (-signal.SIGINT, "") == (done.returncode, done.stderr), name


def test_ctrl_c_while_a_command_runs_is_one_line(url: str) -> None:
    with subprocess.Popen(
        [*ROMANCY, "watch", LONG_ID, "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        assert (130, "interrupted") == (watching.wait(60), watching.stderr.read().strip())
