"""An instance with a log of any length, written through the storage protocol: one step after the other."""

from __future__ import annotations

from msgspec import Raw

from romancy.core import ActivityCompleted, ActivityScheduled, WorkflowStarted, encode_commit
from romancy.storage.backends import create_store
from romancy.storage.records import Append, Outcome, Worker
from romancy_conformance.contract.building import start

__all__ = ["plant"]

_STEP = 2_000
"""Microseconds from one end to the next."""


async def plant(url: str, events: int, name: str = "long") -> None:
    """Start the instance and write about so many events, two in a commit: the end of a step, and the next request."""
    store = create_store(url)
    await store.open()
    try:
        pulse = await store.heartbeat(Worker(token="planter", worker_id="planter", lease=600_000_000))
        first = start(
            instance_id=name, life=1, workflow_name="long", code="c", writer="n-1", input=b"1", owner="planter",
            body=encode_commit([WorkflowStarted(at=pulse.now, workflow="long", input=Raw(b"1"), nonce="n"), _asked(1)]),
        )  # fmt: skip
        assert [Outcome.ACCEPTED] == await store.commit([first], worker="planter")
        for seq in range(2, events // 2 + 1):
            ended = ActivityCompleted(at=pulse.now + seq * _STEP, id=f"a:{seq - 1}", result=Raw(b'{"receipt":"r"}'))
            row = Append(
                instance_id=name, life=1, seq=seq, writer=f"n-{seq}", after=f"n-{seq - 1}",
                body=encode_commit([ended, _asked(seq)]),
            )  # fmt: skip
            assert [Outcome.ACCEPTED] == await store.commit([row], worker="planter")
    finally:
        await store.close()


def _asked(number: int) -> ActivityScheduled:
    return ActivityScheduled(id=f"a:{number}", name="a", args=Raw(b'{"order":"lamp","count":2}'))
