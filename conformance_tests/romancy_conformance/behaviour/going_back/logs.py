"""What tests of going back look up in logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.core import MessageReceived, WorkflowRewound

if TYPE_CHECKING:
    from romancy import Handle, Romancy

__all__ = ["has_events", "has_received", "is_told_to_pause", "last_commit", "rewinds"]


async def last_commit(app: Romancy, handle: Handle[Any]) -> int:
    """The number of the last commit in its log."""
    seq, more = 0, True
    while more:
        page = await app._access.opened().read(handle.instance_id, after=seq)  # pyright: ignore[reportPrivateUsage] - as it is stored
        assert page is not None
        seq, more = (page.rows[-1].seq if page.rows else seq), page.more
    return seq


async def rewinds(handle: Handle[Any]) -> int:
    """How often it was rewound."""
    return len([event for event in await handle.history() if isinstance(event, WorkflowRewound)])


async def has_events(handle: Handle[Any], count: int) -> bool:
    """Whether its log has so many events."""
    return len(await handle.history()) >= count


async def has_received(handle: Handle[Any], number: int) -> bool:
    """Whether it has received a message with this number."""
    messages = [event.message for event in await handle.history() if isinstance(event, MessageReceived)]
    return any(bytes(one.data) == str(number).encode() for one in messages)


async def is_told_to_pause(app: Romancy, handle: Handle[Any]) -> bool:
    """Whether somebody has asked its worker to pause it."""
    found = await app.get_instance(handle.instance_id)
    assert found is not None
    return "paus" in str(await handle.explain())
