"""A worker process of the fault tests, and the workflow it knows.

    python -m romancy_conformance.behaviour.faults.program URL --ledger FILE [--lease SECONDS] [--drain SECONDS]
        [--elsewhere] [--jump SECONDS] [--worker-id ID] [--slots COUNT] [--memory MEGABYTES]

It says `ready` and works until it is told to stop, which drains it. With `--elsewhere` it claims to be on a machine of
its own; with `--jump` SIGUSR1 puts its clock forward, or back; it has a name with `--worker-id`, few slots with
`--slots`, and with `--memory` no more than so much beyond what it has when it begins.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import secrets
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from romancy import Limit, RetryPolicy, Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.engine.worker import lease
from romancy.storage.records import Host
from romancy_conformance.behaviour.crashes.ledger import Ledger
from romancy_conformance.contract.natives import run_natively

if TYPE_CHECKING:
    from romancy import Workflow

__all__ = [
    "FAULTY_LANES",
    "WORKFLOWS",
    "faulty_feast",
    "faulty_holder",
    "faulty_line",
    "faulty_naps",
    "faulty_newest",
    "faulty_single",
    "main",
]

LEDGER = "ROMANCY_FAULT_LEDGER"


@activity
async def faulty_step(number: int, seconds: float) -> int:
    ledger = Ledger(Path(os.environ[LEDGER]))
    ledger.note("begin")
    await asyncio.sleep(seconds)
    ledger.note("end")
    return number


@activity
async def faulty_write(number: int, seconds: float) -> int:
    """Write by the session, and every second time by the driver's own object."""
    ledger = Ledger(Path(os.environ[LEDGER]))
    ledger.note("begin")
    await asyncio.sleep(seconds)
    context = activity_context()
    db = await context.session()
    insert = f"insert into effects values ('{context.instance_id}', '{context.activity_id}')"  # noqa: S608 - our own ids
    await (run_natively(db.native, insert) if number % 2 else db.execute(insert))
    ledger.note("end")
    return number


@activity
async def faulty_hold(number: int, seconds: float) -> int:
    """Write, and keep the transaction open for a while."""
    ledger = Ledger(Path(os.environ[LEDGER]))
    context = activity_context()
    db = await context.session()
    await db.execute(f"insert into effects values ('{context.instance_id}', '{context.activity_id}')")  # noqa: S608 - our own ids
    ledger.note("begin")
    await asyncio.sleep(seconds)
    ledger.note("end")
    return number


@workflow
async def faulty_holder(ctx: WorkflowContext, seconds: float) -> int:
    return await faulty_hold(1, seconds)


@workflow
async def faulty_line(ctx: WorkflowContext, steps: int, seconds: float) -> int:
    total = 0
    for number in range(steps):
        total += await faulty_step(number, seconds)
        total += await faulty_write(number, seconds)
    return total


@workflow
async def faulty_naps(ctx: WorkflowContext, naps: int, seconds: float) -> int:
    total = 0
    for number in range(naps):
        await ctx.sleep(seconds)
        total += await faulty_step(number, 0.0)
    return total


async def _in_lane(ctx: WorkflowContext, key: str, seconds: float) -> int:
    return await faulty_step(1, seconds)


FAULTY_LANES: tuple[Workflow[[str, float], int], ...] = tuple(
    workflow(name=f"faulty_lane_of_{allowed}", limits=[Limit(f"faulty {allowed}", key="key", concurrency=allowed)])(
        _in_lane
    )
    for allowed in range(1, 6)
)
"""By how many are allowed inside, from one on."""


@workflow(limits=[Limit("faulty single", key="key", concurrency=1, full="skip")])
async def faulty_single(ctx: WorkflowContext, key: str, seconds: float) -> int:
    return await faulty_step(1, seconds)


@workflow(limits=[Limit("faulty newest", key="key", concurrency=1, full="replace_queued")])
async def faulty_newest(ctx: WorkflowContext, key: str, seconds: float) -> int:
    return await faulty_step(1, seconds)


@activity(retry=RetryPolicy.fixed(2, 0.0))
async def faulty_meal(megabytes: int) -> str:
    return "x" * (megabytes << 20)


@workflow
async def faulty_feast(ctx: WorkflowContext, megabytes: int) -> int:
    return len(await faulty_meal(megabytes))


WORKFLOWS: tuple[Workflow[..., Any], ...] = (
    *FAULTY_LANES,
    faulty_single,
    faulty_newest,
    faulty_line,
    faulty_naps,
    faulty_holder,
    faulty_feast,
)


def limit_memory(megabytes: int) -> None:
    """Limit this process to so much more memory than it has now."""
    import resource  # noqa: PLC0415 - Windows has no such module, and runs no test of this

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def put_clock(seconds: float) -> None:
    """Shift the clock that this process sees."""
    right = time.time_ns

    def wrong() -> int:
        return right() + round(seconds * 1_000_000_000)

    setattr(time, "time_ns", wrong)  # noqa: B010 - this process is misled on purpose


async def work(options: argparse.Namespace) -> None:
    """Work until told to stop."""
    loop = asyncio.get_running_loop()
    if options.jump:
        loop.add_signal_handler(signal.SIGUSR1, put_clock, options.jump)
    async with Romancy(
        options.url,
        workflows=WORKFLOWS,
        lease=options.lease,
        worker_id=options.worker_id,
        max_activities=options.slots,
    ) as app:
        if options.memory is not None:
            limit_memory(options.memory)
        loop.call_soon(functools.partial(print, "ready", flush=True))  # once it listens
        await app.serve(drain_timeout=options.drain)


def main() -> None:
    parser = argparse.ArgumentParser(prog="romancy_conformance.behaviour.faults.program", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--lease", type=float, default=30.0)
    parser.add_argument("--drain", type=float, default=5.0)
    parser.add_argument("--elsewhere", action="store_true")
    parser.add_argument("--jump", type=float, default=0.0)
    parser.add_argument("--worker-id")
    parser.add_argument("--slots", type=int, default=1000)
    parser.add_argument("--memory", type=int)
    options = parser.parse_args()
    os.environ[LEDGER] = options.ledger
    if options.elsewhere:
        there = Host(boot_id=secrets.token_hex(8), pid_namespace="pid:[1]", pid=os.getpid(), pid_start=1)
        setattr(lease, "this_host", lambda: there)  # noqa: B010 - this process is a lie on purpose
    asyncio.run(work(options))


if __name__ == "__main__":
    main()
