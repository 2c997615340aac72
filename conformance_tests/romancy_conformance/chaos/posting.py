"""Events and channels of a program on a worker: its waits, and the activities that send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy import EventType, RetryPolicy, activity, activity_context
from romancy.query import gte
from romancy_conformance.chaos.ledger import DONE, insert
from romancy_conformance.chaos.messaging import receiver_of
from romancy_conformance.chaos.stage import APPS

if TYPE_CHECKING:
    from typing import Literal

    from romancy import WorkflowContext

__all__ = ["ANNOUNCED", "SENDING", "TOLD", "UNSENT", "DurablePost"]

TOLD = EventType("chaos-told", dict[str, int])
ANNOUNCED = "chaos-announced"
UNSENT = -1
"""The number of what is never sent, because its attempt fails."""
_PATIENT = RetryPolicy.fixed(12, 0.01)


def _number(count: int) -> int:
    """Return the number to send in this attempt; the first one fails."""
    return count if activity_context().attempt > 1 else UNSENT


def _fail_first() -> None:
    if activity_context().attempt == 1:
        raise ConnectionError("the first attempt")


@activity(retry=_PATIENT)
async def chaos_tells(key: str, count: int) -> str:
    await activity_context().send(TOLD, {"number": _number(count)}, key=key)
    _fail_first()
    return key


@activity(retry=_PATIENT)
async def chaos_tells_written(key: str, count: int) -> str:
    """Send together with a row."""
    context = activity_context()
    await insert(await context.session(), context, key, DONE)
    await context.send(TOLD, {"number": _number(count)}, key=key)
    _fail_first()
    return key


@activity(retry=_PATIENT)
async def chaos_tells_joined(key: str, count: int) -> str:
    """Send as a program does that has a transaction."""
    context = activity_context()
    session = await context.session()
    await insert(session, context, key, DONE)
    await APPS.get()[False].send(TOLD, {"number": _number(count)}, key=key, session=session)
    _fail_first()
    return key


@activity(retry=_PATIENT)
async def chaos_calls(key: str, count: int) -> str:
    await activity_context().send(key, _number(count))
    _fail_first()
    return key


@activity(retry=_PATIENT)
async def chaos_publishes(key: str, count: int) -> str:
    await activity_context().channel(key).publish({"number": _number(count)})
    _fail_first()
    return key


@activity(retry=_PATIENT)
async def chaos_announces(key: str, count: int) -> str:
    await activity_context().publish(ANNOUNCED, _number(count), key=key)
    _fail_first()
    return key


@activity(commit="lazy", retry=_PATIENT)
async def chaos_announces_lazily(key: str, count: int) -> str:
    """A lazy activity that publishes commits at once."""
    await activity_context().publish(ANNOUNCED, count, key=key)
    return key


@activity(retry=_PATIENT)
async def chaos_announces_written(key: str, count: int) -> str:
    """Publish together with a row."""
    context = activity_context()
    await insert(await context.session(), context, key, DONE)
    await context.publish(ANNOUNCED, _number(count), key=key)
    _fail_first()
    return key


@activity(retry=_PATIENT)
async def chaos_announces_joined(key: str, count: int) -> str:
    """Publish as a program does that has a transaction."""
    context = activity_context()
    session = await context.session()
    await insert(session, context, key, DONE)
    await APPS.get()[False].publish(ANNOUNCED, _number(count), key=key, session=session)
    _fail_first()
    return key


SENDING: dict[str, Any] = {
    "tells": chaos_tells,
    "tells_written": chaos_tells_written,
    "tells_joined": chaos_tells_joined,
    "calls": chaos_calls,
    "publishes": chaos_publishes,
    "announces": chaos_announces,
    "announces_lazily": chaos_announces_lazily,
    "announces_written": chaos_announces_written,
    "announces_joined": chaos_announces_joined,
}


def _at_least(number: int) -> dict[str, Any] | None:
    """Return the condition that leaves smaller numbers to others."""
    return {"number": gte(number)} if number else None


class DurablePost:
    """Sends and receives for one run."""

    def __init__(self, ctx: WorkflowContext) -> None:
        self._ctx = ctx

    async def wait(self, address: str, timeout: float | None = None, least: int = 0) -> int:
        where = _at_least(least)
        return (await self._ctx.wait_event(TOLD, key=address, timeout=timeout, where=where)).data["number"]

    async def tell(self, address: str, number: int) -> None:
        await self._ctx.send(TOLD, {"number": number}, key=address)

    async def subscribe(self, type: str) -> None:
        await self._ctx.subscribe(type)

    async def unsubscribe(self, type: str) -> None:
        await self._ctx.unsubscribe(type)

    async def heard(self, type: str) -> int:
        return (await self._ctx.wait_event(type, model=int)).data

    async def call(self, type: str, number: int) -> None:
        await self._ctx.send(type, number)

    async def join(self, channel: str, mode: Literal["broadcast", "competing"]) -> None:
        await self._ctx.channel(channel).subscribe(mode)

    async def leave(self, channel: str) -> None:
        await self._ctx.channel(channel).unsubscribe()

    async def receive(self, channel: str, timeout: float | None = None, least: int = 0, *, direct: bool = False) -> int:
        numbers = self._ctx.channel(channel, model=dict[str, int])
        return (await numbers.receive(timeout=timeout, direct=direct, where=_at_least(least))).data["number"]

    async def publish(self, channel: str, number: int) -> None:
        await self._ctx.channel(channel).publish({"number": number})

    async def answer(self, address: str, number: int) -> None:
        await self._ctx.channel(address).send_to(receiver_of(address), {"number": number})

    async def announce(self, key: str, number: int) -> None:
        await self._ctx.publish(ANNOUNCED, number, key=key)
