"""A workflow that ends the process it runs in is parked, one that needs too much memory fails; the others finish."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from romancy import WorkflowFailedError
from romancy.core import ActivityFailed, WorkflowFailed
from romancy.status import Status
from romancy_conformance.behaviour.faults.field import ENVIRONMENT
from romancy_conformance.behaviour.faults.program import faulty_feast
from romancy_conformance.process_control import CRASHED, DEAD, resources

if TYPE_CHECKING:
    from romancy_conformance.behaviour.faults.field import Field

pytestmark = pytest.mark.anyio

INNOCENT = 30
HOW = {"exit": 66, "kill": DEAD, "crash": CRASHED}
ENDINGS = HOW | {f"body:{how}": status for how, status in HOW.items()}
"""How the poison ends its process, in an activity or its body, and the exit status; out of memory, by a kill."""


async def run_once(url: str, ending: str) -> int:
    """Run one worker process to its end."""
    module = "romancy_conformance.behaviour.faults.poisoned"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, url, str(INNOCENT), ending, env=ENVIRONMENT, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def test_poison_is_parked_and_the_others_finish(field: Field) -> None:
    """However it ends them: seven workers in a row die, and the eighth parks it."""
    endings = [*ENDINGS, "exit", "exit"]
    ends = [await run_once(field.url, ending) for ending in endings]

    assert ends == [*ENDINGS.values(), HOW["exit"], 0]
    poison = await field.app.get_instance("poison")
    assert poison is not None
    assert poison.status is Status.STUCK
    assert "7 workers in a row were lost while they had it, 5 of them while they tried it" in (poison.error or "")
    done = await field.app.list_instances(instance_id="cup-", status="completed", limit=100)
    assert len(done.instances) == INNOCENT


PAUSE = 1.5
"""Seconds from the end of one process to the beginning of the next. `poisoned` says what this makes of a trial."""
PATIENCE = 30.0
"""Seconds that a process may take. On an idle machine each takes two or three."""


@pytest.mark.long
async def test_poison_is_parked_as_soon_where_something_restarts_the_process_at_intervals(field: Field) -> None:
    """A trial lasts a moment, although the next process comes much later."""
    module = "romancy_conformance.behaviour.faults.poisoned"
    ends = list[int]()
    while not ends or (ends[-1] == HOW["exit"] and len(ends) < 20):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, field.url, "3", "exit", "restarted",
            env=ENVIRONMENT, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            ends.append(await asyncio.wait_for(process.wait(), PATIENCE))
        except TimeoutError:
            process.kill()
            ends.append(await process.wait())
            break
        if ends[-1] == HOW["exit"]:
            await asyncio.sleep(PAUSE)

    assert [HOW["exit"]] * 7 + [0] == ends
    poison = await field.app.get_instance("poison")
    assert poison is not None
    assert poison.status is Status.STUCK


@resources
async def test_what_needs_too_much_memory_fails_and_the_others_finish(field: Field) -> None:
    """F24: that attempt is recorded as failed, and the worker with all instances continues."""
    worker = await field.worker("--memory", "250")
    ids = [f"frugal-{number}" for number in range(10)]
    await field.start(ids, 2, 0.2)
    feast = await field.app.start(faulty_feast, 2_000)
    with pytest.raises(WorkflowFailedError, match="MemoryError"):
        await feast.result(timeout=120)
    await field.all_ended()

    assert worker.alive
    log = await field.log(feast.instance_id)
    assert [1, 1] == [sum(isinstance(event, kind) for event in log) for kind in (ActivityFailed, WorkflowFailed)]
    await field.check(ids, 2, interrupted=0, by=[])
