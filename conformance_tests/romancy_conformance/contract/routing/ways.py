"""The ways in which an append reaches the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy_conformance.contract.building import step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.records import Append, Outcome
    from romancy_conformance.contract.building import Actor
    from romancy_conformance.contract.routing.scenes import Receiver

    Receive = Callable[..., Awaitable[Receiver]]
    Way = Callable[[Actor, list[Append]], Awaitable[list[Outcome]]]

__all__ = ["WAYS", "by_batch", "by_session", "one_by_one"]


async def by_batch(actor: Actor, items: list[Append]) -> list[Outcome]:
    """All in one batch, beside a plain step and a start."""
    plain = step(await actor.begin(), 2)
    return (await actor.store.commit([plain, *items], worker=actor.token))[1:]


async def one_by_one(actor: Actor, items: list[Append]) -> list[Outcome]:
    return [await actor.write(item) for item in items]


async def by_session(actor: Actor, items: list[Append]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for item in items:
        async with actor.store.services.sessions.begin() as session:
            outcomes.append(await session.commit(item, worker=actor.token))
    return outcomes


WAYS = (by_batch, one_by_one, by_session)
