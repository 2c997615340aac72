"""The cost of the core alone, without any engine: driving a step, replaying a history, holding a live run.

    python benchmarks/core.py [steps]

Every figure is processor time, the best of several runs; compare only figures of one call. In a step, the result of an
activity arrives, is encoded, and wakes the workflow, which calls the next activity.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from romancy.activity import activity
from romancy.context import WorkflowContext
from romancy.core import (
    ActivityCompleted,
    Run,
    StartActivity,
    WorkflowStarted,
    decode_commit,
    encode_commit,
)
from romancy.workflow import workflow

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
NOW = 1_700_000_000_000_000
RESULT = Raw(b"1")


@activity
async def step(n: int) -> int:
    return n


@workflow
async def steps(ctx: WorkflowContext, count: int) -> int:
    for n in range(count):
        await step(n)
    return count


@workflow
async def wide(ctx: WorkflowContext, width: int) -> int:
    return sum(await asyncio.gather(*(asyncio.wait_for(step(n), 60) for n in range(width))))


def begin(count: int, instance_id: str = "benchmark") -> tuple[Run, Any]:
    run = Run(steps, instance_id=instance_id)
    start = WorkflowStarted(at=NOW, workflow="steps", input=Raw(b'{"count":%d}' % count), nonce="n")
    return run, run.activate([start])


def drive(count: int) -> tuple[list[bytes], float]:
    """Return the log of a workflow of `steps` steps, and the seconds that driving it took."""
    run, activation = begin(count)
    log = [encode_commit(activation.events)]
    began = time.process_time()
    while activation.outcome is None:
        (start,) = activation.effects
        assert isinstance(start, StartActivity)
        activation = run.activate([ActivityCompleted(at=NOW, id=start.activity_id, result=RESULT)])
        log.append(encode_commit(activation.events))
    seconds = time.process_time() - began
    run.close()
    return log, seconds


def replay(log: list[bytes]) -> float:
    """Return the seconds to read a log and replay it."""
    began = time.process_time()
    run = Run(steps, instance_id="benchmark")
    run.replay(map(decode_commit, log))
    seconds = time.process_time() - began
    assert run.outcome() is not None
    run.close()
    return seconds


def fan_out(width: int) -> float:
    """Return the seconds to drive so many activities at once, each with its own timeout."""
    run = Run(wide, instance_id="wide")
    began = time.process_time()
    start = WorkflowStarted(at=NOW, workflow="wide", input=Raw(b'{"width":%d}' % width), nonce="n")
    activation = run.activate([start])
    for effect in activation.effects:
        if isinstance(effect, StartActivity):
            activation = run.activate([ActivityCompleted(at=NOW, id=effect.activity_id, result=RESULT)])
    seconds = time.process_time() - began
    assert activation.outcome is not None
    run.close()
    return seconds


def memory(runs: int = 1000) -> float:
    """Return the bytes of a run that waits for its first activity."""
    gc.collect()
    tracemalloc.start()
    kept = [begin(10, f"benchmark-{n}")[0] for n in range(runs)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for run in kept:
        run.close()
    return size / runs


def best(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(ROUNDS))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    log, _ = drive(count)
    driving = best(lambda: drive(count)[1])
    replaying = best(lambda: replay(log))
    tenth = best(lambda: replay(drive(count // 10)[0]))
    print(f"drive   {driving / count * 1e6:6.2f} µs a step, events encoded")
    print(f"replay  {replaying / count * 1e6:6.2f} µs a step; {count:,} steps in {replaying * 1e3:.0f} ms")
    print(f"        {tenth / count * 10 * 1e6:6.2f} µs a step for a tenth of the history")
    for width in (100, 1_000, 5_000):
        print(f"fan out {fan_out(width) / width * 1e6:6.1f} µs for each of {width:,} activities at once, with timeouts")
    print(f"memory  {memory() / 1024:6.1f} kB a live run")


if __name__ == "__main__":
    main()
