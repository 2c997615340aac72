"""`romancy conformance`: it runs the suite on the adapter of a URL, and first checks what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from romancy.cli import _conforming, cli
from romancy.cli._endings import ended

if TYPE_CHECKING:
    from pathlib import Path

ROMANCY: Final = (sys.executable, "-m", "romancy")


def run(*arguments: str) -> int:
    """Run the command in this process; return its exit code."""
    command = ["conformance", *arguments]
    return ended(lambda: cli.main(command, prog_name="romancy", standalone_mode=False))


@pytest.mark.long
def test_an_adapter_is_judged_promise_by_promise(tmp_path: Path) -> None:
    chosen = ("--", "-k", "test_a_page_continues_where or test_a_taken_seq_is_refused")
    done = subprocess.run(
        [*ROMANCY, "conformance", "memory://{unique}", *chosen],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "romancy promises" in done.stdout
    assert "\nkept " in done.stdout
    assert "do not clean up" in done.stderr
    assert [] == list(tmp_path.iterdir())


@pytest.mark.long
def test_a_failure_does_not_show_the_password(tmp_path: Path) -> None:
    """The arguments of what failed are printed, and the URL is one of them."""
    chosen = ("--", "-k", "test_settings_are_told", "--showlocals")
    done = subprocess.run(
        [*ROMANCY, "conformance", "mysql://me:hunter%2F2@127.0.0.1:1/x", *chosen],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == done.returncode, done.stdout + done.stderr
    assert "cannot be reached" in done.stdout
    assert "FAILED" in done.stdout
    assert "hunter" not in done.stdout + done.stderr


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(_conforming, "_NEEDED", ("pytest", "no_such_module_of_ours"))

    code = run("memory://x")

    said = capsys.readouterr()
    assert (1, "") == (code, said.out)
    assert "needs no_such_module_of_ours; install" in said.err
    assert "pip install 'romancy[conformance]'" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "which database?"),
        (("nonsense://x",), 5, "no backend for the scheme"),
        (("memory://x", "--fast"), 2, "No such option"),
    ],
    ids=["none", "scheme", "option"],
)
def test_mistakes_are_told_before_anything_runs(
    arguments: tuple[str, ...],
    code: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ROMANCY_CONFORMANCE_URL", raising=False)

    ended_with = run(*arguments)

    assert (code, True) == (ended_with, words in capsys.readouterr().err)


def test_the_url_is_no_argument_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def asked(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", asked)

    assert 0 == run("postgresql://me:hunter2@localhost/x")
    assert "hunter2" not in " ".join(commands[0])
