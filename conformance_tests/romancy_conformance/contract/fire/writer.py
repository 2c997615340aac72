"""A process that appends one row after another to its own instance, and repeats a refused append.

    python -m romancy_conformance.contract.fire.writer NOTES URL COUNT

Notes: `ok INSTANCE COUNT` when all rows are in. An exception of the store is printed and ends the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.status import Status
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import Actor, append, change
from romancy_conformance.contract.fire.program import run

if TYPE_CHECKING:
    import asyncio

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.fire.notes import Notes

_EVERY_CHANGE = 5


async def main(store: Store, notes: Notes, stop: asyncio.Event, arguments: list[str]) -> None:
    count = int(arguments[0])
    actor = await Actor(store, workflows={"writer": "c1"}).register()
    begun = await actor.begin()
    for seq in range(2, count + 2):
        changes = change(Status.RUNNING) if seq % _EVERY_CHANGE == 0 else None
        outcome = await actor.write(append(begun, seq, b'["%d"]' % seq, change=changes))
        assert outcome is Outcome.ACCEPTED, f"append {seq}: {outcome}"
    notes.say(("ok", begun.instance_id, count))


if __name__ == "__main__":
    run(main)
