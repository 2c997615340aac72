"""A worker that appends as fast as the store answers: plain appends, and appends that write to every table.

    python -m romancy_conformance.contract.fire.stormer NOTES URL WORKFLOW INSTANCES

Notes: `ok INSTANCE SEQ WRITER` for each acknowledged append, and `odd …` for an answer that nothing explains.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from romancy.status import Status
from romancy.storage.records import Item, OutboxRow, Outcome, Step
from romancy_conformance.contract.building import Actor, append, change, delivery, start, step, unique
from romancy_conformance.contract.fire.program import insist, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.fire.notes import Notes

EVERY_RICH = 3


def next_append(of: Append, to: Append, seq: int) -> Step | Append:
    """Every third append writes to every table; each row of it names the append it belongs to."""
    this = {"instance": of.instance_id, "seq": seq}
    if seq % EVERY_RICH:
        return step(of, seq, msgspec.json.encode([{"type": "plain", **this}]))
    outgoing = OutboxRow(outbox_id=unique("o"), topic="t", body=msgspec.json.encode(this))
    mail = delivery(to, msgspec.json.encode(this))
    child = start(workflow_name="child", parent=of.instance_id)
    event = {"type": "rich", "outbox": outgoing.outbox_id, "delivery": mail.delivery_id, "child": child.instance_id}
    return append(
        of,
        seq,
        msgspec.json.encode([event | this]),
        change=change(Status.RUNNING, seen=0),
        outbox=(outgoing,),
        deliveries=(mail,),
        starts=(child,),
    )


async def main(store: Store, notes: Notes, stop: asyncio.Event, arguments: list[str]) -> None:
    workflow, count = arguments
    actor = Actor(store, workflows={workflow: "c1"})
    await insist(lambda: store.heartbeat(actor.worker))
    owned = [start(workflow_name=workflow, owner=actor.token, status=Status.RUNNING) for _ in range(int(count))]
    await insist(lambda: store.commit(owned, worker=actor.token))
    seq = 1
    while not stop.is_set():
        seq += 1
        items = [next_append(one, to, seq) for one, to in zip(owned, owned[1:] + owned[:1], strict=True)]
        halves = items[::2], items[1::2]
        answers = await asyncio.gather(*(_commit(store, half, actor.token) for half in halves))
        for half, outcomes in zip(halves, answers, strict=True):
            notes.say(
                *(
                    ("ok" if outcome is Outcome.ACCEPTED else "odd", item.instance_id, item.seq, item.writer, outcome)
                    for item, outcome in zip(half, outcomes, strict=True)
                )
            )


async def _commit(store: Store, items: Sequence[Item], token: str) -> list[Outcome]:
    return await insist(lambda: store.commit(items, worker=token))


if __name__ == "__main__":
    run(main)
