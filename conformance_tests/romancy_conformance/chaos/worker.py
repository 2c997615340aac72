"""The nursery of worker processes: it imports everything once and forks one worker for each order.

    python -m romancy_conformance.chaos.worker

It reads orders, one on each line: `work JSON` forks a worker and answers with its process id, `wait PID` answers with
how that worker ended, `tree` answers with the source tree it runs. At the end of its input it kills the remaining
workers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import traceback
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec

import romancy
from romancy import RetryPolicy, Romancy, StorageUnavailableError
from romancy.retaining import keeping, streamed
from romancy.storage.backends import create_store
from romancy_conformance.chaos.ailing import CLOCK, FULL, ail
from romancy_conformance.chaos.plain import OUTSIDE, outside
from romancy_conformance.chaos.programs import Program
from romancy_conformance.chaos.relaying import relay_to
from romancy_conformance.chaos.shapes.acts import stood
from romancy_conformance.chaos.shapes.catalogue import workflows_of
from romancy_conformance.chaos.shapes.retained import shorten_passes
from romancy_conformance.chaos.shapes.sealed import Sealing
from romancy_conformance.chaos.shapes.streams import KEPT, empty_soon
from romancy_conformance.chaos.stage import APPS, stage
from romancy_conformance.chaos.workflows import WORKFLOWS, call_of

__all__ = ["Job", "note_lapses", "work"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The job of one worker process."""

    url: str
    log: str
    """The file for its standard error."""
    lease: float = 3.0
    max_live: int = 10_000
    sticky: int = 1000
    drain: float = 2.0
    outbox: str = ""
    """The file for what its relay sends."""
    starts: tuple[Program, ...] = ()
    """Programs that it starts itself."""
    seals: bool = False
    """Whether it has an app with a codec besides."""
    old: bool = False
    """Whether it runs the code of before the rolling deploy."""


async def work(job: Job, told: asyncio.Event | None = None) -> None:
    """Work until told to stop: by a signal, or by the event in a process that gets no signals."""
    watched = 1.0 if told is None else None
    shorten_passes(keeping)
    empty_soon(streamed)
    app = Romancy(
        job.url,
        workflows=(*WORKFLOWS, *workflows_of(sealed=False, old=job.old)),
        lease=job.lease,
        max_live=job.max_live,
        sticky=job.sticky,
        drain_timeout=job.drain,
        max_threads=200,  # many functions hold their threads until they are asked to stop
        retry=RetryPolicy.fixed(12, 0.01),
        relay=relay_to(job.outbox) if job.outbox else None,
        retention=None,
        keep_streams=KEPT,
        warn_when_blocked=watched,
    )
    outside[:] = [Path(job.log).with_name(OUTSIDE)]  # before the first worker begins: its activities write there
    apps = {False: app}
    APPS.set(apps)
    async with AsyncExitStack() as stack:
        if job.seals:
            sealing = Romancy(
                job.url,
                workflows=workflows_of(sealed=True),
                codecs=[Sealing()],
                lease=job.lease,
                retention=None,
                warn_when_blocked=watched,
            )
            apps[True] = sealing
            await stack.enter_async_context(sealing)
        await stack.enter_async_context(app)
        watch = asyncio.create_task(_watch(job.lease / 3))
        if job.starts:
            with suppress(StorageUnavailableError):  # the round starts what is missing
                await app.start_many([call_of(program) for program in job.starts])
        if told is None:
            await app.serve(drain_timeout=job.drain)
        else:
            await told.wait()
            await app.drain(job.drain)
        watch.cancel()


def note_lapses(lease: float) -> None:
    """Note whenever the worker of this process says that it has lost its lease: the database may have been slow."""
    logging.getLogger("romancy.engine").addFilter(_Lapses(lease))


class _Lapses(logging.Filter):
    """Notes when the worker says that its lease has expired, or that it was declared dead before it saw that."""

    def __init__(self, lease: float) -> None:
        super().__init__()
        self._lease = lease

    def filter(self, record: logging.LogRecord) -> bool:
        if any(words in str(record.msg) for words in ("the lease has expired", "was declared dead")):
            stood((now := stage.moment()) - self._lease, now)
        return True


async def _watch(longest: float) -> None:
    """Note when this process did not run for so long that it can have lost its lease."""
    while True:
        before = stage.moment()
        await asyncio.sleep(0.1)
        if (now := stage.moment()) - before > longest:
            stood(before, now)


def fork(job: Job) -> int:
    """Fork a worker process; return its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        out = os.open(job.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(source, target)
        ail(job.url)
        note_lapses(job.lease)
        asyncio.run(work(job))
        status = 0
    except StorageUnavailableError:
        traceback.print_exc()
        status = os.EX_TEMPFAIL  # it could not begin or end because the database was unavailable
    except BaseException:  # noqa: BLE001 - the fork must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    children: set[int] = set()
    for number in (CLOCK, FULL):
        signal.signal(number, signal.SIG_IGN)  # until a fork has its own handlers
    with suppress(Exception):
        for scheme in ("sqlite:///x", "postgresql://x/x", "mysql://x/x", "mariadb://x/x"):
            create_store(scheme)  # so that their drivers are imported once
    for line in sys.stdin:
        order, _, what = line.partition(" ")
        if order == "work":
            children.add(child := fork(msgspec.json.decode(what, type=Job)))
            print(child, flush=True)
        elif order == "tree":
            print(Path(romancy.__path__[0]).parent, flush=True)
        else:
            pid, status = os.waitpid(int(what), os.WNOHANG)
            children.discard(pid)
            print(os.waitstatus_to_exitcode(status) if pid else "alive", flush=True)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
