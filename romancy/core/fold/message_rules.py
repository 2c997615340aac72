"""Applies the events of messages to the state of a run: its subscriptions, its waits, and what it has sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core.fold.finding import find_sent, find_wait
from romancy.core.words import message_events as ms
from romancy.core.words.messages import Topic, may_be_refused
from romancy.core.words.shared_empty import NO_DICT

if TYPE_CHECKING:
    from romancy.core.fold.entries import Entries
    from romancy.core.words import events as ev
    from romancy.core.words.messages import Mode


def kept_id(topic: Topic) -> str:
    """The id with which a retry asks for a subscription that the failed run had when it began."""
    return f"{topic.name}:0"


def subscribe_as_before(state: Entries, started: ev.WorkflowStarted) -> None:
    """Keep the subscriptions of the run that has continued as this one."""
    state.subscriptions = {one.topic: one.mode for one in started.subscriptions}


def subscribe_again(state: Entries, retried: ev.WorkflowRetried) -> None:
    """Take the subscriptions that the failed run had when it began, whose end has dropped them.

    The append with which the retry begins registers those that cannot be refused. The others are asked for.
    """
    for one in retried.subscriptions:
        subscribed(state, ms.Subscribed(kept_id(one.topic), one.topic, one.mode))


def subscribed(state: Entries, event: ms.Subscribed) -> None:
    state.left.pop(event.topic, None)
    if not may_be_refused(event.topic, event.mode):
        _holds(state, event.topic, event.mode)
        return
    if state.joining is NO_DICT:
        state.joining = {}
    state.joining[event.id] = event


def _holds(state: Entries, topic: Topic, mode: Mode) -> None:
    if state.subscriptions is NO_DICT:
        state.subscriptions = {}
    state.subscriptions[topic] = mode


def granted(state: Entries, event: ms.SubscriptionGranted) -> None:
    asked = state.joining.pop(event.id)
    _holds(state, asked.topic, asked.mode)
    state.heard(event)


def refused(state: Entries, event: ms.SubscriptionRefused) -> None:
    del state.joining[event.id]
    state.heard(event)


def unsubscribed(state: Entries, event: ms.Unsubscribed) -> None:
    del state.subscriptions[event.topic]
    if event.mode == "broadcast" and not any(wait.topic == event.topic for wait in state.waits.values()):
        if state.left is NO_DICT:
            state.left = {}
        state.left[event.topic] = None


def members_asked(state: Entries, event: ms.MembersAsked) -> None:
    if state.listing is NO_DICT:
        state.listing = {}
    state.listing[event.id] = event


def members_listed(state: Entries, event: ms.MembersListed) -> None:
    del state.listing[event.id]
    state.heard(event)


def awaited(state: Entries, event: ms.MessageAwaited) -> None:
    if state.waits is NO_DICT:
        state.waits = {}
    state.waits[event.id] = event
    if event.due is not None:
        state.expect(event.due, "waits", event.id)
    if state.left:
        state.left.pop(event.topic, None)  # a wait for events needs no subscription
    if state.memory is not None:
        find_wait(state.memory, event)


def received(state: Entries, event: ms.MessageReceived) -> None:
    del state.waits[event.id]
    state.heard(event)
    if state.memory is not None:
        state.answered("waits", event.id)


def timed_out(state: Entries, event: ms.WaitTimedOut) -> None:
    state.heard(event)
    given_up(state, event)


def given_up(state: Entries, event: ms.WaitTimedOut | ms.WaitCancelled) -> None:
    del state.waits[event.id]
    state.given_up("waits", event.id)


def sent(state: Entries, event: ms.MessageSent) -> None:
    if state.memory is not None:
        find_sent(state.memory, event)
