"""What a sender outside sends to programs besides signals: events with a key, and messages on channels."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from romancy import InstanceNotFoundError, StorageUnavailableError, UsageError
from romancy_conformance.chaos.messaging import receiver_of
from romancy_conformance.chaos.posting import TOLD

if TYPE_CHECKING:
    from romancy import Romancy
    from romancy_conformance.chaos.programs import Program

__all__ = ["send_mail"]

_SOURCE = "/chaos/outside"


async def send_mail(app: Romancy, program: Program, renewed: asyncio.Event | None) -> None:
    """Send it one after another, each until it is accepted; some are all sent twice.

    A message for one instance waits until that is `renewed`: the instance before it would receive it.
    """
    chance = random.Random(f"mail {program.path}")
    for way, address, number in program.mail * 2 if chance.random() < 0.3 else program.mail:
        await asyncio.sleep(chance.uniform(0, 0.3))
        if way == "answer" and renewed is not None:
            await renewed.wait()
        while True:
            try:
                await _send(app, way, address, number)
                break
            except (InstanceNotFoundError, StorageUnavailableError):
                await asyncio.sleep(0.2)
            except UsageError:  # it has ended, which the judge will report if it is wrong
                break


async def _send(app: Romancy, way: str, address: str, number: int) -> None:
    id = f"{address}#{number}"
    if way == "tell":
        await app.send(TOLD, {"number": number}, key=address, source=_SOURCE, id=id)
    elif way == "publish":
        await app.channel(address).publish({"number": number}, id=id)
    else:
        await app.channel(address).send_to(receiver_of(address), {"number": number})
