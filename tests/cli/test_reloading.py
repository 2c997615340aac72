"""`run --reload` and `dev`: they run the newest files, wait while these have an error, and leave no process behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import httpx2
import pytest

from romancy.cli._reloading import times_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.long

ROMANCY: Final = (sys.executable, "-m", "romancy")
APP: Final = """
import os

from romancy import Romancy, WorkflowContext, workflow

@workflow
async def {name}(ctx: WorkflowContext) -> None:
    pass

print("worker", os.getpid(), flush=True)
app = Romancy("sqlite:///reloaded.db", workflows=[{name}])
"""


BY_CHANCE: Final = """
import random

from romancy import Romancy, WorkflowContext, workflow

@workflow
async def by_chance(ctx: WorkflowContext) -> None:
    print("the body runs", flush=True)
    await ctx.sleep(random.random())

app = Romancy("sqlite:///reloaded.db", workflows=[by_chance])
"""


class Reloader:
    """A running `romancy run --reload`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def says(self, what: str) -> str:
        """Return the next line of its output, or of its worker's, that contains this."""
        assert self.process.stderr is not None
        return next(line for line in self.process.stderr if what in line)

    def worker(self) -> int:
        """Return the process of the next worker."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline().split()[1])


@contextmanager
def reloading(folder: Path, *arguments: str) -> Generator[Reloader]:
    """A reloader in the folder, ended in any case after the block."""
    pipe = subprocess.PIPE
    command = [*ROMANCY, *(arguments or ("run", "shop", "--reload"))]
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield Reloader(process)
        finally:
            process.kill()


def write(folder: Path, text: str) -> None:
    """Change the app, as an editor does that writes in place."""
    (folder / "shop.py").write_text(text)


def wait_for_end(pid: int) -> None:
    """Return when a process that is not a child of this one is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ready, _, _ = select.select([handle], [], [], 60)
    os.close(handle)
    assert ready, f"process {pid} is left behind"


@pytest.mark.timeout(120)
def test_a_change_starts_the_worker_again_and_a_mistake_is_waited_out(tmp_path: Path) -> None:
    write(tmp_path, APP.format(name="first"))
    with reloading(tmp_path) as reloader:
        first = reloader.worker()
        reloader.says("worker runs 1 workflow: first")

        write(tmp_path, APP.format(name="second"))
        reloader.says("changed: shop.py")
        second = reloader.worker()
        reloader.says("worker runs 1 workflow: second")
        wait_for_end(first)

        write(tmp_path, "def broken(:\n")
        reloader.says("SyntaxError")
        reloader.says("it is started again when a file changes")
        wait_for_end(second)

        write(tmp_path, APP.format(name="third"))
        third = reloader.worker()
        reloader.says("worker runs 1 workflow: third")
        reloader.process.send_signal(signal.SIGTERM)
        reloader.says("reloader has stopped")
        wait_for_end(third)
        code = reloader.process.wait(60)

    assert 0 == code
    assert 3 == len({first, second, third})


@pytest.mark.timeout(120)
def test_a_reloader_that_is_killed_leaves_no_worker(tmp_path: Path) -> None:
    write(tmp_path, APP.format(name="only"))
    with reloading(tmp_path) as reloader:
        worker = reloader.worker()
        reloader.says("worker runs 1 workflow")
        reloader.process.kill()
        wait_for_end(worker)


@pytest.mark.timeout(120)
def test_dev_keeps_the_browser_open_over_changes_and_mistakes(tmp_path: Path) -> None:
    write(tmp_path, APP.format(name="first"))
    with reloading(tmp_path, "dev", "shop", "--port", "0") as reloader, httpx2.Client(timeout=60) as browser:
        assert reloader.process.stdout is not None
        link = reloader.process.stdout.readline().strip()
        base = link.partition("?")[0]
        entered = browser.get(link)
        first = reloader.worker()
        assert (200, 401) == (entered.status_code, httpx2.get(base).status_code)
        assert "first" in browser.get(f"{base}start").text

        write(tmp_path, "def broken(:\n")
        reloader.says("SyntaxError")
        reloader.says("it is started again when a file changes")
        wait_for_end(first)

        write(tmp_path, APP.format(name="second"))
        assert "second" in browser.get(f"{base}start").text  # it waits for the worker
        second = reloader.worker()
        reloader.process.send_signal(signal.SIGINT)
        reloader.says("reloader has stopped")
        wait_for_end(second)
        code = reloader.process.wait(60)

    assert 0 == code


@pytest.mark.timeout(120)
def test_dev_replays_what_has_ended(tmp_path: Path) -> None:
    write(tmp_path, BY_CHANCE)
    with reloading(tmp_path, "dev", "shop", "--port", "0") as reloader:
        reloader.says("worker runs 1 workflow: by_chance")
        done = subprocess.run([*ROMANCY, "start", "shop", "by_chance"], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0
        reloader.says("this workflow has ended, and cannot be replayed")
        reloader.says("workflow by_chance")
        reloader.process.send_signal(signal.SIGINT)
        reloader.process.wait(60)
        assert reloader.process.stdout is not None
        assert reloader.process.stdout.read().count("the body runs") == 1


def test_files_of_environments_and_hidden_folders_are_not_watched(tmp_path: Path) -> None:
    for name in ("app.py", "pkg/steps.py", "env/lib/x.py", ".git/hook.py", "node_modules/y.py", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")

    assert {"app.py", "pkg/steps.py"} == times_of(tmp_path).keys()


def test_a_link_that_leads_nowhere_does_not_end_the_reloader(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    (tmp_path / "gone.py").symlink_to("nowhere.py")
    (tmp_path / "round.py").symlink_to("round.py")

    assert {"app.py"} == times_of(tmp_path).keys()
