"""The command line in a shell: a reader that closes the pipe, and completion."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
from click.shell_completion import BashComplete

from romancy import Romancy, WorkflowContext, workflow
from romancy.cli import cli

if TYPE_CHECKING:
    from pathlib import Path

ROMANCY: Final = (sys.executable, "-m", "romancy")
LONG: Final = "x" * 1_000_000
"""More than any pipe holds, so a writer notices that the reader is gone."""


@workflow
async def much_to_print(ctx: WorkflowContext, text: str) -> int:
    return len(text)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with one instance that has a long history."""
    url = f"sqlite:///{tmp_path / 'long.db'}"

    async def prepare() -> None:
        async with Romancy(url, worker=False, workflows=[much_to_print]) as app:
            await app.start(much_to_print.options(instance_id="long"), LONG)

    asyncio.run(prepare())
    return url


@pytest.mark.parametrize(
    "command", [("history", "long"), ("history", "long", "--json"), ("list", "--json")], ids=" ".join
)
def test_a_reader_that_goes_away_ends_the_command_quietly(command: tuple[str, ...], url: str) -> None:
    with subprocess.Popen([*ROMANCY, *command, "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        first = writer.stdout.read(10)
        writer.stdout.close()
        said = writer.stderr.read()
        code = writer.wait(60)

    assert 10 == len(first)
    assert (0, b"") == (code, said)


@pytest.mark.parametrize("command", [("list", "--help"), ("history", "long")], ids=" ".join)
def test_a_reader_that_never_was_ends_the_command_quietly(command: tuple[str, ...], url: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*ROMANCY, *command],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=os.environ | {"ROMANCY_URL": url},
            check=False,
        )
    finally:
        os.close(writing)

    assert (0, b"") == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("romancy wh", {"why"}), ("romancy list --statu", {"--status"}), ("romancy list --status stu", {"stuck"})],
)
def test_the_shell_completes_commands_options_and_values(
    typed: str, completed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))

    told = BashComplete(cli, {}, "romancy", "_ROMANCY_COMPLETE").complete()

    assert completed == {line.partition(",")[2] for line in told.splitlines()}


@pytest.mark.parametrize("shell", ["bash", *(pytest.param(shell, marks=pytest.mark.long) for shell in ("zsh", "fish"))])
def test_the_script_for_the_shell_is_printed(shell: str) -> None:
    asked = {"_ROMANCY_COMPLETE": f"{shell}_source"}

    done = subprocess.run(ROMANCY, env=os.environ | asked, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    assert f"_ROMANCY_COMPLETE={shell}_complete" in done.stdout
