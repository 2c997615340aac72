"""What a user does, done on Windows: run there by `tools.machines.windows`, with the wheel of the tree.

    python on_windows.py FOLDER

Each scenario gets a folder of its own. Prints a line for each, and ends with the number of those that failed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.request import HTTPCookieProcessor, build_opener

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.testing import TestApp, crash_at_every_commit
from romancy_conformance.process_control import OPTIONS, stop
from tools import readme_program

if TYPE_CHECKING:
    from collections.abc import Callable

ROMANCY: Final = (sys.executable, "-m", "romancy")
SHOP: Final = """
from romancy import Romancy, WorkflowContext, activity, workflow

@activity
async def add(number: int) -> int:
    return number + 1

@workflow
async def {name}(ctx: WorkflowContext, number: int) -> int:
    await ctx.sleep(0.1)
    return await add(number)

app = Romancy("sqlite:///shop.db", workflows=[{name}], lease=600)
"""
_PATIENCE: Final = 600.0


@activity
async def add(number: int) -> int:
    return number + 1


@workflow
async def adding(ctx: WorkflowContext, number: int) -> int:
    first = await add(number)
    await ctx.sleep(3600)
    return await add(first)


def expect(holds: object, otherwise: object) -> None:
    """Fail with what was seen instead."""
    if not holds:
        raise RuntimeError(f"expected something else than {otherwise!r}")


class Command:
    """A `romancy` that runs until Ctrl-C, in a console of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [*ROMANCY, *arguments], cwd=folder, stdout=pipe, stderr=subprocess.STDOUT, encoding="utf-8",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}, **OPTIONS,
        )  # fmt: skip

    def says(self, what: str) -> str:
        """Return the next line that contains this."""
        seen: list[str] = []
        while line := self.process.stdout.readline() if self.process.stdout else "":
            seen.append(line)
            if what in line:
                return line.strip()
        raise RuntimeError(f"expected {what!r} in {seen}")

    def ends_by_ctrl_c(self, last: str = "") -> None:
        """Press Ctrl-C, and check that it ends in order."""
        stop(self.process)
        said, _ = self.process.communicate(timeout=_PATIENCE)
        expect(self.process.returncode == 0 and last in said, (self.process.returncode, said))


def romancy(folder: Path, *arguments: str) -> str:
    """Run a command to its end; return its output as bytes of any encoding, decoded loosely."""
    done = subprocess.run([*ROMANCY, *arguments], cwd=folder, capture_output=True, check=False, timeout=_PATIENCE)
    said = (done.stdout + done.stderr).decode("ascii", "replace")
    expect(done.returncode == 0, (done.returncode, said))
    return said


def the_program_of_the_readme(folder: Path) -> None:
    """It is killed while it packs, run again, and once more."""
    printed, seen = readme_program.play(sys.executable, folder, {**os.environ, "PYTHONIOENCODING": "utf-8"})
    expect(printed == seen, seen)


def demo(folder: Path) -> None:
    said = romancy(folder, "demo")
    expect("kill -9" in said and "no cars left in Lisbon" in said, said)


def run_until_ctrl_c(folder: Path) -> None:
    (folder / "shop.py").write_text(SHOP.format(name="order"), "utf-8")
    worker = Command(folder, "run", "shop")
    worker.says("worker runs 1 workflow")
    expect("2" in romancy(folder, "start", "shop", "order", "1", "--wait"), "no result")
    worker.ends_by_ctrl_c("worker has stopped")


def a_killed_worker_is_followed_at_once(folder: Path) -> None:
    """Windows tells that its process is gone, so nobody waits for its lease, which is longer than our patience."""
    slow = "    await __import__('asyncio').sleep(3)\n    return number + 1"
    text = SHOP.format(name="order").replace("    return number + 1", slow)
    (folder / "shop.py").write_text(text, "utf-8")
    first = Command(folder, "run", "shop")
    first.says("worker runs 1 workflow")
    romancy(folder, "start", "shop", "order", "1", "--id", "one")
    time.sleep(1)
    first.process.kill()
    first.process.communicate()
    second = Command(folder, "run", "shop")
    second.says("worker runs 1 workflow")
    expect("2" in romancy(folder, "start", "shop", "order", "1", "--id", "one", "--wait"), "no result")
    second.ends_by_ctrl_c()


def ui(folder: Path) -> None:
    asyncio.run(_migrate(f"sqlite:///{folder / 'shop.db'}"))
    command = Command(folder, "ui", f"sqlite:///{folder / 'shop.db'}", "--port", "0")
    page = _page(command.says("http://"))
    expect("Romancy" in page, page[:300])
    command.ends_by_ctrl_c()


async def _migrate(url: str) -> None:
    async with Romancy(url, worker=False, workflows=[]):
        pass


def dev(folder: Path) -> None:
    """The dashboard stays at its address while a changed file starts the worker again."""
    (folder / "shop.py").write_text(SHOP.format(name="first"), "utf-8")
    command = Command(folder, "dev", "shop", "--port", "0")
    link = command.says("http://")
    command.says("worker runs 1 workflow: first")
    expect("Romancy" in _page(link), "another page")
    (folder / "shop.py").write_text(SHOP.format(name="second"), "utf-8")
    command.says("changed: shop.py")
    command.says("worker runs 1 workflow: second")
    command.ends_by_ctrl_c("reloader has stopped")


def _page(line: str) -> str:
    link = next(word for word in line.split() if word.startswith("http://"))
    with build_opener(HTTPCookieProcessor()).open(link, timeout=60) as answer:
        text: str = answer.read().decode("utf-8")
    return text


def a_reloader_that_is_killed_leaves_no_worker(folder: Path) -> None:
    (folder / "shop.py").write_text("import os\nprint('worker', os.getpid(), flush=True)\n" + SHOP.format(name="only"))
    command = Command(folder, "run", "shop", "--reload")
    worker = int(command.says("worker ").split()[1])
    command.says("worker runs 1 workflow")
    command.process.kill()
    from romancy.engine.host import started  # noqa: PLC0415 - this scenario alone looks at processes

    until = time.monotonic() + _PATIENCE
    while started(worker) is not None:
        expect(time.monotonic() < until, f"process {worker} is left behind")
        time.sleep(0.1)


def app_of_tests(_: Path) -> None:
    async def play() -> int:
        async with TestApp(workflows=[adding]) as app:
            handle = await app.start(adding, 1)
            await app.advance(3600)
            return await handle.result()

    expect(asyncio.run(play()) == 3, "another result")


def crashes_at_every_commit(_: Path) -> None:
    crashes = asyncio.run(crash_at_every_commit(adding.bind(1)))
    expect({crash.result for crash in crashes} == {3}, crashes)


def crashes_of_processes(folder: Path) -> None:
    """As real processes, which end by TerminateProcess."""
    (folder / "crashing.py").write_text(SHOP.format(name="order"), "utf-8")
    sys.path.insert(0, str(folder))
    order = import_module("crashing").order  # the processes have to find its module
    crashes = asyncio.run(crash_at_every_commit(order.bind(1), url=f"sqlite:///{folder / 'crashes.db'}"))
    expect(crashes and {crash.result for crash in crashes} == {"2"}, crashes)


SCENARIOS: Final[tuple[Callable[[Path], None], ...]] = (
    the_program_of_the_readme,
    demo,
    run_until_ctrl_c,
    a_killed_worker_is_followed_at_once,
    ui,
    dev,
    a_reloader_that_is_killed_leaves_no_worker,
    app_of_tests,
    crashes_at_every_commit,
    crashes_of_processes,
)


def main(base: str, *names: str) -> int:
    failed = 0
    for scenario in SCENARIOS:
        if names and scenario.__name__ not in names:
            continue
        folder = Path(base, scenario.__name__)
        folder.mkdir(parents=True)
        begun = time.monotonic()
        try:
            scenario(folder)
        except Exception:  # noqa: BLE001 - the others run all the same
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print(f"FAILED {scenario.__name__}", flush=True)
        else:
            print(f"passed {scenario.__name__} in {time.monotonic() - begun:.1f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
