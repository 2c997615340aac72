"""What all tests of routing share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy_conformance.contract.routing.scenes import Receiver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor


@pytest.fixture
def receive(actor: Actor) -> Callable[..., Awaitable[Receiver]]:
    """Start one more instance that registers interests and receives what is routed to it."""

    async def begin(instance_id: str | None = None) -> Receiver:
        return Receiver(actor, await actor.begin(instance_id))

    return begin


@pytest.fixture
async def other_store(open_store: Callable[[], Awaitable[Store]]) -> Store:
    """A second store on the same database, as another process has it."""
    return await open_store()
