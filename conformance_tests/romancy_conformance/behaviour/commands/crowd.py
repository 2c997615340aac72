"""A database with very many instances, and commands that run on it as separate processes."""

from __future__ import annotations

import asyncio
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Raw, Struct

from romancy import core
from romancy.serialization import ErrorInfo
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.query import project_with_index
from romancy.storage.records import Append, Outcome
from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["COMMANDS", "MODULE", "RARE", "Ended", "fill", "one_of", "run", "write_module"]

RARE: Final = "rare"
"""One instance in a hundred is of this workflow; all of them wait."""
MODULE: Final = "crowd_of_commands"
_APP: Final = """
from romancy import Romancy, WorkflowContext, workflow

@workflow(index=["customer.id"])
async def rare(ctx: WorkflowContext, order: dict[str, object]) -> None:
    await ctx.wait_event("go")

app = Romancy({url!r}, workflows=[rare])
"""
_LAUNCH: Final = """
import sys
from pathlib import Path
from romancy.cli import cli
from romancy.cli._endings import ended

report, *words = sys.argv[1:]
sys.path.insert(0, "")
code = ended(lambda: cli.main(words, prog_name="romancy", standalone_mode=False))
Path(report).write_text(Path("/proc/self/status").read_text())
raise SystemExit(code)
"""
"""Runs the command, then reads its process's statistics. Its `ru_maxrss` would start with that of its parent."""
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_WORKFLOWS: Final = 20
_STATUSES: Final = (Status.COMPLETED,) * 13 + (Status.WAITING,) * 5 + (Status.FAILED, Status.STUCK)
_BATCH: Final = 1000
_AT_ONCE: Final = 4
_PER_CUSTOMER: Final = 20
_ENDS: Final[dict[Status, core.LogEvent]] = {
    Status.WAITING: core.MessageAwaited(id="go:1", topic=core.Topic("go")),
    Status.COMPLETED: core.WorkflowCompleted(),
    Status.FAILED: core.WorkflowFailed(error=ErrorInfo("ValueError", "the card was declined")),
    Status.STUCK: core.WorkflowParked(reason="the code does not fit"),
}

COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "list": ("list",),
    "list by status": ("list", "--status", "failed"),
    "list by workflow": ("list", "--workflow", "flow-07"),
    "list, nobody": ("list", "--status", "cancelled"),
    "find on an indexed path": ("find", "--where", "customer.id=c-{customer}"),
    "find on an indexed path, nobody": ("find", "--where", "customer.id=nobody"),
    "show": ("show", "{waiting}"),
    "show of a failed one": ("show", "{failed}", "--json"),
    "why, waiting": ("why", "{waiting}"),
    "why, stuck": ("why", "{stuck}"),
    "history": ("history", "{completed}", "--json"),
    "watch, ended": ("watch", "{completed}"),
    "top": ("top", "--most", "20"),
    "workers": ("workers",),
    "doctor": ("doctor",),
    "migrate --plan": ("migrate", "--plan"),
    "migrate": ("migrate",),
    "start": ("start", MODULE, RARE, '{{"customer": {{"id": "new"}}}}'),
    "signal": ("signal", "{waiting}", "go"),
    "cancel": ("cancel", "{waiting}"),
    "terminate": ("terminate", "{waiting}"),
    "retry": ("retry", "{failed}"),
    "resume": ("resume", "{stuck}"),
    "purge": ("purge", "{completed}"),
    "cancel --where, indexed": ("cancel", "--where", "customer.id=c-{customer}", "--yes"),
}
"""Commands that answer at once, however many instances there are, in an order in which they can be run."""


def instance(number: int) -> Append:
    """Return one of many instances, with the log that it would have."""
    name = RARE if number % 100 == 0 else f"flow-{number % _WORKFLOWS:02}"
    status = _status(number)
    raw = b'{"customer":{"id":"c-%d"},"total":%d}' % (number // _PER_CUSTOMER, number)
    projection, index = project_with_index(raw, ["customer.id"])
    begun = core.WorkflowStarted(
        at=time.time_ns() // 1000, workflow=name, input=Raw(raw), nonce=f"crowd-{number}", code="c1"
    )
    return start(
        _id(number), workflow_name=name, body=core.encode_commit([begun, _ENDS[status]]), input=raw,
        projection=projection, index=index, status=status, delay=None,
        error="ValueError: the card was declined" if status is Status.FAILED else None,
    )  # fmt: skip


def _status(number: int) -> Status:
    return Status.WAITING if number % 100 == 0 else _STATUSES[number % 23 % len(_STATUSES)]


def one_of(size: int) -> dict[str, str]:
    """Return instances from the middle: one of each status, and a customer."""
    middle = size // 2
    numbers = range(middle, middle + 100)
    of_status = {_status(number): _id(number) for number in numbers if number % 100}
    return {str(status): name for status, name in of_status.items()} | {"customer": str((size // 3) // _PER_CUSTOMER)}


def _id(number: int) -> str:
    return f"i-{number:07}"


async def fill(url: str, size: int) -> None:
    """Start so many through the store, several batches at once."""
    store = create_store(url)
    await store.open()
    batches = iter(range(0, size, _BATCH))

    async def some() -> None:
        for first in batches:
            await _commit(store, [instance(number) for number in range(first, min(first + _BATCH, size))])

    await asyncio.gather(*[some() for _ in range(_AT_ONCE)])
    await store.close()


async def _commit(store: Store, items: list[Append]) -> None:
    if set(await store.commit(items)) != {Outcome.ACCEPTED}:
        raise RuntimeError("an instance was not accepted")


def write_module(folder: Path, url: str) -> None:
    """Write an app on the database, for the commands that run user code."""
    (folder / f"{MODULE}.py").write_text(_APP.format(url=url))


class Ended(Struct):
    """How a command ended."""

    code: int
    seconds: float
    cpu: float
    """CPU seconds of the process itself."""
    megabytes: float
    """Its peak memory."""
    out: str
    err: str


def run(arguments: tuple[str, ...], folder: Path, url: str) -> Ended:
    """Run a command as a process in the folder."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, tempfile.TemporaryDirectory() as own:
        report = Path(own, "status")
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(report), *arguments],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True,
            env=os.environ | {"ROMANCY_URL": url, "COLUMNS": "80"},
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        peak = _PEAK.search(report.read_text()) if report.exists() else None
        megabytes = int(peak[1]) / 1024 if peak is not None else math.nan
        cpu = used.ru_utime + used.ru_stime
        return Ended(process.returncode, seconds, cpu, megabytes, out.read(), err.read())
