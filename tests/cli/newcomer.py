"""A newcomer at a shell: an empty folder, an environment with the wheel alone, and the commands typed there."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.in_process import Answer
from tools import markdown
from tools.distribution import environment_of_a_user
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator

_TIME = re.compile(r"\+?\d+(\.\d+)? (ms|s)\b")


@dataclass
class Page:
    """The blocks of a page of the guide, in the order in which a reader types and reads them."""

    blocks: list[markdown.CodeBlock]

    @classmethod
    def of(cls, name: str) -> Page:
        return cls(list(markdown.read((ROOT / name).read_text("utf-8")).blocks))

    def next(self, language: str) -> str:
        """Return the next block of the page, which must have this language."""
        block = self.blocks.pop(0)
        assert language == block.language, f"line {block.line}: expected a block of {language}"
        return block.text


@dataclass
class Newcomer:
    """Types commands in a folder, as the guide shows them."""

    commands: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def types(self, line: str) -> Answer:
        """Type one line; `export NAME=VALUE` holds for the lines that follow."""
        words = shlex.split(line)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.environment[name] = value
            return Answer(0, "", "")
        done = subprocess.run(
            [self.commands / words[0], *words[1:]],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=200,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def types_all(self, block: str, wait_for: tuple[str, str] | None = None) -> list[Answer]:
        """Type the lines of a block, which must all succeed. After a start, wait until an instance has a status."""
        answers: list[Answer] = []
        for line in block.splitlines():
            answers.append(self.types(line))
            assert answers[-1].code == 0, f"{line}: {answers[-1]}"
            if line.startswith("romancy start") and wait_for is not None:
                self.sees(*wait_for)
        return answers

    def writes(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, "utf-8")

    def sees(self, instance_id: str, status: str) -> None:
        """Wait until an instance has a status."""
        question = "select 1 from romancy_instances where instance_id = ? and status = ?"
        deadline = time.monotonic() + 120
        with closing(sqlite3.connect(self.folder / "orders.db", timeout=30)) as database:
            while not database.execute(question, [instance_id, status]).fetchall():
                assert time.monotonic() < deadline, f"{instance_id} is never {status}"
                time.sleep(0.02)

    @contextmanager
    def at_work(self, line: str) -> Generator[list[str]]:
        """Run a worker in another terminal, and end it with Ctrl-C; its output is then in the list."""
        with self.starts(line) as worker:
            told: list[str] = []
            assert worker.stdout is not None
            for one in worker.stdout:
                told.append(one.rstrip())
                if "worker runs" in one:
                    break
            yield told
            worker.send_signal(signal.SIGINT)
            told += worker.stdout.read().splitlines()
            assert worker.wait() == 0, told

    @contextmanager
    def starts(self, line: str) -> Generator[subprocess.Popen[str]]:
        """Start a command beside the others, with both outputs on one pipe; it is ended after the block."""
        words = shlex.split(line)
        with subprocess.Popen(
            [self.commands / words[0], *words[1:]],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _environment(self) -> dict[str, str]:
        path = f"{self.commands}{os.pathsep}{os.environ['PATH']}"
        return environment_of_a_user(PATH=path, PYTHONUNBUFFERED="1", **self.environment)


def holds(seen: str, printed: str) -> bool:
    """Whether the output contains the lines of a page in one piece; times may differ."""
    wanted, found = ([_TIME.sub("T", line.strip()) for line in text.splitlines()] for text in (printed, seen))
    return any(found[first : first + len(wanted)] == wanted for first in range(len(found)))
