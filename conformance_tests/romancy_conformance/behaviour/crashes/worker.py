"""A worker that starts or continues one workflow and waits for its end, in a process that may die at any write.

    python -m romancy_conformance.behaviour.crashes.worker

`forking` describes how jobs arrive and how they are answered.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from romancy import Handle, Romancy, WorkflowCancelledError, WorkflowFailedError, _start_options
from romancy.core.run import asking, run
from romancy.registry import Registry
from romancy.retry import RetryPolicy
from romancy.status import TERMINAL_STATUSES, Status
from romancy_conformance.behaviour.crashes.forking import TOO_LATE, Job, serve
from romancy_conformance.behaviour.crashes.ledger import Ledger
from romancy_conformance.behaviour.crashes.transactional import TRANSACTIONAL
from romancy_conformance.workflows import FAMILY

if TYPE_CHECKING:
    from collections.abc import Generator

    from romancy_conformance.workflows import Scenario

__all__ = ["PLAYED", "WorkflowJob"]

PLAYED = {**FAMILY, **TRANSACTIONAL}
_COUNTING = ((asking, "SECOND"), (run, "SECOND"), (_start_options, "_SECOND"))
"""What counts a workflow's seconds: its waits, its clock, the delays and limits of its children."""
_OPEN = tuple(set(Status) - TERMINAL_STATUSES)


class WorkflowJob(Job, frozen=True, kw_only=True):
    """One run of one process."""

    scenario: str
    instance_id: str
    ledger: str
    second: float = 0.004
    """Real seconds for one second on a workflow's clock."""
    lease: float = 30.0
    tell: tuple[tuple[str, Any], ...] = ()
    """What to signal to the instance instead of working on it, as a sender outside does."""


@contextmanager
def at_pace(second: float) -> Generator[None]:
    """Apply `hurry` for a while, to replay what was written in a hurry."""
    ticks = round(1_000_000 * second)
    with ExitStack() as patches:
        for module, name in _COUNTING:
            patches.enter_context(patch.object(module, name, ticks))
        yield


def hurry(second: float) -> None:
    """Make one second of the workflows' delays, and of the waits between attempts, take `second`."""
    for module, name in _COUNTING:
        vars(module)[name] = round(1_000_000 * second)  # in a process that runs only one workflow
    delay = RetryPolicy.delay

    def hurried(policy: RetryPolicy, attempt: int, chance: float = 0.0) -> float:
        return delay(policy, attempt, chance) * second

    setattr(RetryPolicy, "delay", hurried)  # noqa: B010 - as above


def watch(scenario: Scenario, ledger: Ledger, second: float) -> None:
    """Make every activity and compensation take time and be recorded."""
    registry = Registry.collect()
    for definition in registry.activities.values():
        seconds = scenario.durations.get(definition.name, 0.0) * second
        definition.fn = ledger.watched(definition.fn, seconds, is_async=definition.is_async)
    for definition in registry.compensations.values():
        definition.fn = ledger.watched(definition.fn, 0.0, is_async=definition.is_async)


async def play(job: WorkflowJob) -> int:
    """Start the workflow, or find it started, and wait for its end; or send it signals, and return."""
    job.arm()
    if job.tell:
        async with Romancy(job.url, worker=False) as app:
            for name, data in job.tell:
                await app.signal(job.instance_id, name, data)
        return 0
    scenario = PLAYED[job.scenario]
    hurry(job.second)
    watch(scenario, Ledger(Path(job.ledger)), job.second)
    known = {definition.name: definition for definition in (scenario.workflow, *scenario.children)}
    async with Romancy(job.url, workflows=known.values(), retry=scenario.retry, lease=job.lease) as app:
        if job.fail and await app.get_instance(job.instance_id) is not None:
            handle: Handle[Any] = app.handle(job.instance_id)  # the first commit must be the first that continues it
        else:
            handle = await app.start(scenario.workflow.options(instance_id=job.instance_id), *scenario.args)
        try:
            async with asyncio.timeout(job.limit):
                with suppress(WorkflowFailedError, WorkflowCancelledError):
                    await handle.result()
                # A child may end after its parent, and nothing reports that.
                while (await app.list_instances(status=_OPEN)).instances:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return TOO_LATE
    return 0


if __name__ == "__main__":
    serve(WorkflowJob, play)
