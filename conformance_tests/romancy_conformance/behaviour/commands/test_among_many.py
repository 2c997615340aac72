"""Commands among very many instances: what looks reads a page through an index, what acts on many streams.

On small data, the test checks the plans and the statements of each command. The large form has a million instances, and
checks the time that a person waits: `python -m benchmarks.bench_commands` measures the same commands.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from romancy.cli import _tending
from romancy_conformance.behaviour.commands.crowd import COMMANDS, MODULE, RARE, fill, one_of, run, write_module
from romancy_conformance.contract.plans import watch_for
from romancy_conformance.process_control import resources

if TYPE_CHECKING:
    from pathlib import Path

    from romancy_conformance.behaviour.commands.buying import Command

pytestmark = [
    pytest.mark.backends("sqlite", "postgres"),
    pytest.mark.unreplayable("the crowd has logs of workflows that nobody wrote"),
]

SOAK = bool(os.environ.get("ROMANCY_SOAK"))
SIZE = 1_000_000 if SOAK else 3_000
FEW = 4_000
ENOUGH_ROWS = 400
"""Rows that a command may read: a page of fifty for each of several statuses, and their neighbours."""
ENOUGH_ROWS_OF = {"doctor": 5_000}
"""`doctor` compares a sample of instances with their logs, and counts COUNTED begins, ends, and open ones of each
status. All rows of FEW instances are 20,000.
"""
COUNTED = 300
"""So many instances of a kind `doctor` counts here. Otherwise it counts more than there are."""
ENOUGH_STATEMENTS = 60
"""Statements; the most are for a cancellation of what a filter finds: some for each instance."""
AT_ONCE = 1.0
"""Seconds."""
EXPECTED = {"doctor": 1}
"""Exit codes other than 0: there is no worker."""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_each_command_reads_a_bounded_number_of_rows(
    url: str, romancy: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_for(url)
    asyncio.run(fill(url, FEW))
    known = one_of(FEW)
    write_module(tmp_path, url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, MODULE, raising=False)  # that of the case before, on another database
    assert _tending._COUNTED == 10_000  # pyright: ignore[reportPrivateUsage] - of each kind, whatever there is
    monkeypatch.setattr(_tending, "_COUNTED", COUNTED)
    too_many: dict[str, str] = {}

    with watch.on():
        for what, command in COMMANDS.items():
            words = [word.format(**known) for word in command]

            async def asked(words: list[str] = words) -> None:
                answer = await asyncio.to_thread(romancy, *words)
                assert EXPECTED.get(words[0], 0) == answer.code, (words, answer.err)

            cost = asyncio.run(watch.cost(None, asked()))  # type: ignore[arg-type]  # these two databases need no store
            statements = [line for line in cost.plan.splitlines() if not line.startswith("  ")]
            if cost.rows > ENOUGH_ROWS_OF.get(what, ENOUGH_ROWS) or len(statements) > ENOUGH_STATEMENTS:
                too_many[what] = f"{cost.rows} rows, {len(statements)} statements\n{cost.plan}"

    assert {} == too_many, "\n".join(f"{what}: {why}" for what, why in too_many.items())


@resources
@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_each_command_answers_within_a_second_and_many_are_acted_on_in_bounded_memory(
    url: str, romancy: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(fill(url, SIZE))
    known = one_of(SIZE)
    write_module(tmp_path, url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, MODULE, raising=False)  # that of the case before, on another database

    for what, command in COMMANDS.items():
        words = [word.format(**known) for word in command]
        began = time.perf_counter()
        answer = romancy(*words)
        took = time.perf_counter() - began
        assert EXPECTED.get(words[0], 0) == answer.code, (what, answer.err)
        assert took < AT_ONCE, f"{what} took {took:.2f} s among {SIZE:,} instances"

    small = run(("list",), tmp_path, url)
    listed = run(("terminate", "--status", "waiting", "--dry-run"), tmp_path, url)
    ended = run(("terminate", "--workflow", RARE, "--yes"), tmp_path, url)  # also the one that a command has started
    purged = run(("purge", "--workflow", RARE, "--status", "cancelled", "--yes"), tmp_path, url)

    assert f"{SIZE // 100 + 1} instances removed" == purged.out.strip().replace(",", "")
    for done, least in ((listed, SIZE // 6), (ended, SIZE // 100), (purged, 1)):
        assert 0 == done.code, done.err
        assert done.out.count("\n") >= least
        assert done.megabytes < small.megabytes + 40, f"{done.megabytes:.0f} MB, a list has {small.megabytes:.0f}"
    assert "" == romancy("list", "--workflow", RARE, "--status", "cancelled").out
