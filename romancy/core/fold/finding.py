"""What a recorded command took of the memory of a retry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core.fold.memory import what_of, what_was_sent, without_number

if TYPE_CHECKING:
    from romancy.core.fold.memory import Memory, Remembered
    from romancy.core.words import events as ev
    from romancy.core.words import message_events as ms

__all__ = ["find_activity", "find_child", "find_message", "find_sent", "find_timer", "find_wait"]


def find_activity(memory: Memory, event: ev.ActivityScheduled) -> Remembered | None:
    if event.key:
        found = memory.by_key("activities", event.key)
    else:
        found = memory.look("activities", event.name, what_of(event.args, without_number(event.name, event.id)))
        if found is not None and not found.undone:
            found = None
    return memory.take(event, found)


def find_child(memory: Memory, event: ev.ChildStarted) -> Remembered | None:
    return memory.take(event, memory.by_key("children", event.instance_id) if event.again else None)


def find_timer(memory: Memory, event: ev.TimerStarted) -> Remembered | None:
    found = None if event.delay is None else memory.look("timers", "", repr(event.delay).encode())
    return memory.take(event, found)


def find_wait(memory: Memory, event: ms.MessageAwaited) -> Remembered | None:
    return memory.take(event, memory.message(event))


def find_message(memory: Memory, event: ev.MessagePublished) -> Remembered | None:
    found = memory.look("messages", event.name, what_of(event.data, event.key)) if event.again else None
    return memory.take(event, found)


def find_written(memory: Memory, event: ev.StreamWritten) -> Remembered | None:
    return memory.take(event, memory.look("writes", event.name, what_of(event.data)) if event.again else None)


def find_sent(memory: Memory, event: ms.MessageSent) -> Remembered | None:
    what = what_was_sent(event.message, event.to, chosen=event.chosen)
    return memory.take(event, memory.look("sends", event.message.topic.name, what) if event.again else None)
