"""Adds the headers of hooks to what a workflow's body sends. The log keeps only what the body gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.core import SendOnChannel

if TYPE_CHECKING:
    from romancy.core import Send, StartChild
    from romancy.engine.instance import Live
    from romancy.engine.observer import Observer

__all__ = ["announced_child", "announced_send"]


def announced_child(effect: StartChild, live: Live, announces: Observer) -> StartChild:
    """The start of a child."""
    headers = announces.announce(live, "start", effect.workflow, effect.instance_id, effect.headers)
    return replace(effect, headers=headers)


def announced_send(effect: Send | SendOnChannel, live: Live, announces: Observer) -> Send | SendOnChannel:
    """An event, a signal or a message of a channel."""
    if isinstance(effect, SendOnChannel):
        return replace(effect, headers=announces.announce(live, "message", effect.channel, effect.to, effect.headers))
    event = effect.event
    kind = "signal" if event.to else "send"
    headers = announces.announce(live, kind, event.name, event.to or None, event.headers)
    return replace(effect, event=replace(event, headers=headers))
