"""A process that sends numbered messages to many instances.

    python -m romancy_conformance.contract.fire.sender NOTES URL NAME COUNT INSTANCE…

It sends every tenth batch twice, as after a lost answer. Notes: `sent COUNT` at the end, `odd …` for a wrong answer.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from romancy.storage.records import Delivered, Delivery
from romancy_conformance.contract.fire.program import insist, run

if TYPE_CHECKING:
    import asyncio

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.fire.notes import Notes

_BATCH = 5
_EVERY_TWICE = 10


async def main(store: Store, notes: Notes, stop: asyncio.Event, arguments: list[str]) -> None:
    name, count, *targets = arguments
    for first in range(0, int(count), _BATCH):
        batch = [_message(name, number, targets) for number in range(first, min(first + _BATCH, int(count)))]
        answers = await insist(partial(store.deliver, batch))
        if first // _BATCH % _EVERY_TWICE == 0:
            again = await insist(partial(store.deliver, batch))
            notes.say(*(("odd", "again", answer) for answer in again if answer is not Delivered.DUPLICATE))
        notes.say(*(("odd", first, answer) for answer in answers if answer is not Delivered.ACCEPTED))
    notes.say(("sent", count))


def _message(name: str, number: int, targets: list[str]) -> Delivery:
    key = f"{name}-{number:08d}"
    body = msgspec.json.encode({"sender": name, "number": number})
    return Delivery(instance_id=targets[number % len(targets)], delivery_id=key, body=body, dedupe=f"seen-{key}")


if __name__ == "__main__":
    run(main)
