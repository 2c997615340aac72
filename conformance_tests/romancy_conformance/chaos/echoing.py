"""Repeats what a parent has told its children in a former run, as a worker does that stood still meanwhile."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from typing import TYPE_CHECKING

from romancy import StorageUnavailableError
from romancy.core import ChildStarted, Parent, WorkflowStarted, decode_commit
from romancy.engine.messages import CancelMessage, encode_message
from romancy.status import Status
from romancy.storage.records import Delivery
from romancy_conformance.chaos.judge import read_log

if TYPE_CHECKING:
    from romancy.core import LogEvent
    from romancy.storage.protocol import Store
    from romancy_conformance.chaos.programs import Program

__all__ = ["echo_cancellations"]


async def echo_cancellations(store: Store, program: Program) -> None:
    """Cancel the children of a program that is retried, on behalf of its former runs, until it has completed.

    No child may take notice, since each of these runs has ended.
    """
    chance, numbers = random.Random(f"echo {program.path}"), count()
    while True:
        await asyncio.sleep(chance.uniform(0.1, 0.6))
        try:
            found = await read_log(store, program.path)
            if found is None:
                continue
            row, log = found
            if row.status is Status.COMPLETED:
                return
            events = [event for commit in log for event in decode_commit(commit.body)]
            for child, message in _echoes(program, row.life, events):
                delivery = Delivery(instance_id=child, delivery_id=f"echo-{next(numbers)}", body=message)
                await store.deliver([delivery])
        except StorageUnavailableError:
            continue


def _echoes(program: Program, life: int, events: list[LogEvent]) -> list[tuple[str, bytes]]:
    """Return the last former run's cancellation of each child that only waits."""
    runs = [event.nonce for event in events if isinstance(event, WorkflowStarted)]
    calls = {event.instance_id: event.id for event in events if isinstance(event, ChildStarted)}
    waiting = [each.path for each in program.kin if each.ending == "waits" and each.path in calls]
    if len(runs) == 1:
        return []
    return [(child, _cancellation(Parent(program.path, calls[child], life), runs[-2])) for child in waiting]


def _cancellation(parent: Parent, run: str) -> bytes:
    return encode_message(CancelMessage(reason="an echo of a former run", parent=parent, wanted_by=run))
