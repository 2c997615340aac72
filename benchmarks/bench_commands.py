"""The time of each command of the command line among a million instances.

`python -m benchmarks.bench_commands [--instances 1000000] [backend …]` fills a database through the storage protocol
and runs each command in this process; a repeatable command is timed several times, and the best time counts. `list`,
`show`, `why` and `find` on an indexed path must answer within a second, including the start of Python, which is the CPU
time of `romancy --version`. Commands on many instances stream: at the end, separate processes check, terminate and
purge one instance in a hundred, and the table shows the peak memory of each.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.databases import databases
from romancy.cli import cli
from romancy.cli._endings import ended
from romancy_conformance.behaviour.commands.crowd import COMMANDS, MODULE, RARE, fill, one_of, run, write_module

if TYPE_CHECKING:
    from collections.abc import Sequence

BACKENDS: Final = ("sqlite", "postgres")
TARGET: Final = 1000.0
"""Milliseconds, for a command on one instance or one page."""
TRIES: Final = 5
LOOKING: Final = ("list", "find", "show", "why", "history", "watch", "workers", "doctor", "migrate")
MANY: Final[dict[str, tuple[str, ...]]] = {
    "check of {rare} instances": ("check", MODULE, "--workflow", RARE),
    "terminate --status waiting --dry-run": ("terminate", "--status", "waiting", "--dry-run"),
    "terminate of {rare} instances": ("terminate", "--workflow", RARE, "--yes"),
    "purge of {rare} instances": ("purge", "--workflow", RARE, "--status", "cancelled", "--yes"),
}


def measure(name: str, url: str, size: int) -> None:
    """Fill a database and print two tables."""
    began = time.perf_counter()
    with ProcessPoolExecutor(
        1, get_context("spawn")
    ) as other:  # this process stays small, because the memory of its children is measured
        other.submit(_fill, url, size).result()
    rate = size / (time.perf_counter() - began)
    known = one_of(size) | {"rare": f"{size // 100:,}"}
    print(f"\n### {name}: {size:,} instances, filled at {rate:,.0f} a second; load {_load()}\n")
    with tempfile.TemporaryDirectory() as folder:
        write_module(Path(folder), url)
        single(Path(folder), url, known)
        many(Path(folder), url, known)


def single(folder: Path, url: str, known: dict[str, str]) -> None:
    """Time commands that show a page, or concern one instance."""
    start = min(run(("--version",), folder, url).cpu for _ in range(TRIES)) * 1000
    print(f"start of Python: {start:.0f} ms of CPU\n\n| command | ms | with the start | |\n|---|--:|--:|---|")
    os.environ["ROMANCY_URL"] = url
    sys.path.insert(0, str(folder))
    for what, command in COMMANDS.items():
        words = [word.format(**known) for word in command]
        took = min(_within(words) for _ in range(TRIES if command[0] in LOOKING else 1)) * 1000
        verdict = "" if command[0] not in LOOKING else "reached" if took + start < TARGET else "MISSED"
        print(f"| {what} | {took:.1f} | {took + start:.0f} | {verdict} |", flush=True)


def _within(words: list[str]) -> float:
    """Return the seconds of a command within this process."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        began = time.perf_counter()
        code = ended(lambda: cli.main(words, prog_name="romancy", standalone_mode=False))
        took = time.perf_counter() - began
    _check(words, code, said.getvalue())
    return took


def many(folder: Path, url: str, known: dict[str, str]) -> None:
    """Time commands on many instances, as processes."""
    print(f"\nload {_load()}\n\n| command | s | s of CPU | memory | lines |\n|---|--:|--:|--:|--:|")
    for what, command in MANY.items():
        done = run(command, folder, url)
        _check(command, done.code, done.err)
        lines = done.out.count("\n")
        print(
            f"| {what.format(**known)} | {done.seconds:.1f} | {done.cpu:.1f} | {done.megabytes:.0f} MB | {lines:,} |",
            flush=True,
        )


def _check(command: Sequence[str], code: int, said: str) -> None:
    if code not in {0, 1, 6}:  # 1: doctor finds no worker; 6: the instances began with other code than the module's
        raise SystemExit(f"{' '.join(command)} ended with {code}: {said}")


def _load() -> str:
    return ", ".join(f"{one:.1f}" for one in os.getloadavg())


def _fill(url: str, size: int) -> None:
    asyncio.run(fill(url, size))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The command line among a million instances")
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("backends", nargs="*", metavar="backend", default=BACKENDS, help=", ".join(BACKENDS))
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(list(wanted.backends), folder):
            measure(name, url, wanted.instances)


if __name__ == "__main__":
    main()
