"""Applies the events of channels to the state of a run: its subscriptions, and its waits for messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.core import _channel_events as ch
from romancy.core._recall import find_gone_out, find_received
from romancy.core._shared_empty import NO_DICT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy.core import _events as ev
    from romancy.core._fold import State

__all__ = ["CHANNEL_RULES", "kept_id", "subscribe_again"]


def kept_id(channel: str) -> str:
    """The id with which a retry asks for a subscription that the failed run had when it began."""
    return f"{channel}:0"


def subscribe_again(state: State, retried: ev.WorkflowRetried) -> None:
    """Ask for the subscriptions that the failed run had when it began: its end has dropped them."""
    state.channels = NO_DICT
    for channel, mode in retried.channels.items():
        _asked(state, ch.ChannelAsked(kept_id(channel), channel, mode))


def _heard(state: State, event: ev.Input) -> None:
    state.time = max(state.time, event.at)
    state.parked = None


def _asked(state: State, event: ch.ChannelAsked) -> None:
    if event.mode == "direct":
        _subscribed(state, event)
        return
    state.left.pop(event.channel, None)
    if state.joining is NO_DICT:
        state.joining = {}
    state.joining[event.id] = event


def _subscribed(state: State, asked: ch.ChannelAsked) -> None:
    if state.channels is NO_DICT:
        state.channels = {}
    state.channels[asked.channel] = asked.mode


def _granted(state: State, event: ch.ChannelJoined) -> None:
    _subscribed(state, state.joining.pop(event.id))
    _heard(state, event)


def _refused(state: State, event: ch.ChannelRefused) -> None:
    del state.joining[event.id]
    _heard(state, event)


def _members_asked(state: State, event: ch.ChannelMembersAsked) -> None:
    if state.listing is NO_DICT:
        state.listing = {}
    state.listing[event.id] = event


def _members_listed(state: State, event: ch.ChannelMembersListed) -> None:
    del state.listing[event.id]
    _heard(state, event)


def _ended(state: State, event: ch.ChannelLeft) -> None:
    del state.channels[event.channel]
    if event.mode == "broadcast":
        if state.left is NO_DICT:
            state.left = {}
        state.left[event.channel] = None


def _awaited(state: State, event: ch.ChannelAwaited) -> None:
    if state.waits is NO_DICT:
        state.waits = {}
    state.waits[event.id] = event
    if event.due is not None:
        state.expect(event.due, "waits", event.id)
    if state.memory is not None:
        find_received(state.memory, event)


def _received(state: State, event: ch.ChannelReceived) -> None:
    del state.waits[event.id]
    _heard(state, event)
    state.answered("waits", event.id)


def _sent(state: State, event: ch.ChannelSent) -> None:
    if state.memory is not None:
        find_gone_out(state.memory, event)


CHANNEL_RULES: Final[Mapping[type[ev.LogEvent], Callable[[Any, Any], None]]] = {
    ch.ChannelAsked: _asked,
    ch.ChannelJoined: _granted,
    ch.ChannelRefused: _refused,
    ch.ChannelMembersAsked: _members_asked,
    ch.ChannelMembersListed: _members_listed,
    ch.ChannelLeft: _ended,
    ch.ChannelAwaited: _awaited,
    ch.ChannelReceived: _received,
    ch.ChannelSent: _sent,
}
