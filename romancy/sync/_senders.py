"""Sending from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from romancy.sync._channel import SyncChannel
from romancy.sync._questions import SyncQuestions
from romancy.sync._subscription import SyncSubscription

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from typing_extensions import TypeForm

    from romancy.channel import Channel
    from romancy.event import Event, EventType, Sent
    from romancy.storage.query import FilterValue


__all__ = ["SyncSenders"]

T = TypeVar("T")


class SyncSenders(SyncQuestions):
    """Sends messages to instances, wherever they run."""

    def send(
        self,
        type: EventType[Any] | str,
        data: object = None,
        *,
        to: str | None = None,
        key: str | None = None,
        source: str | None = None,
        id: str | None = None,
        subject: str | None = None,
        time: datetime | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, str | int | bool] | None = None,
        session: object = None,
    ) -> Sent:
        """Send an event to workflows. It is durable when this returns; with `session=`, by your own commit.

        With `to`, it goes to that instance alone, as a signal does, and is kept there until the workflow waits for it.
        Raises InstanceNotFoundError and InstanceEndedError.

        Otherwise it goes to every workflow that waits for this type without a key, or has subscribed to it, at this
        moment. If it has a key, it also goes to exactly one wait for that key, the longest one. If there is none, the
        event is kept until there is, by default for a week. The key is `key`, else what the `EventType` finds in the
        data, else the `subject`.

        With an `id` of yours, another event of this type with the same `source` and `id` is dropped, and
        `Sent.duplicate` is set. That is remembered for at least a week. `headers` travel along and are read as
        `Event.headers`, as `time` and `extensions` are, which are attributes of a CloudEvent.
        """
        result: Sent = self._call(
            "send",
            type,
            data,
            to=to,
            key=key,
            source=source,
            id=id,
            subject=subject,
            time=time,
            headers=headers,
            extensions=extensions,
            session=session,
        )
        return result

    @overload
    def channel(self, channel: Channel[T], /) -> SyncChannel[T]: ...

    @overload
    def channel(self, channel: str, /) -> SyncChannel[Any]: ...

    @overload
    def channel(self, channel: str, /, *, model: TypeForm[T]) -> SyncChannel[T]: ...

    def channel(self, channel: Channel[Any] | str, /, *, model: Any = Any) -> SyncChannel[Any]:
        """A channel, to publish on and to subscribe to from outside of workflows."""
        return SyncChannel(self._keeper, self._call("channel", channel, model=model))

    @overload
    def subscribe(
        self, type: EventType[T], name: str, /, *, where: Mapping[str, FilterValue] | None = None
    ) -> SyncSubscription[Event[T]]: ...

    @overload
    def subscribe(
        self, type: str, name: str, /, *, where: Mapping[str, FilterValue] | None = None
    ) -> SyncSubscription[Event[Any]]: ...

    def subscribe(
        self, type: EventType[Any] | str, name: str, /, *, where: Mapping[str, FilterValue] | None = None
    ) -> SyncSubscription[Event[Any]]:
        """Receive every event of a type under a name, in a `with` block. The subscription outlasts the block.

        Under the same name, the next block (of this process or of another) continues after the last acknowledged
        event. `unsubscribe(type, name)` ends the subscription. Use a name in one place at a time. `where` excludes
        events whose data do not meet these conditions, in the form of `app.find_instances`.
        """
        return SyncSubscription(self._keeper, self._call("subscribe", type, name, where=where))

    def unsubscribe(self, type: EventType[Any] | str, name: str, /) -> None:
        """End the subscription to a type of events under this name. Unacknowledged events are dropped."""
        self._call("unsubscribe", type, name)

    @overload
    def signal(
        self,
        instance_id: str,
        event: EventType[None],
        data: None = None,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None: ...

    @overload
    def signal(
        self,
        instance_id: str,
        event: EventType[T],
        data: T,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None: ...

    @overload
    def signal(
        self,
        instance_id: str,
        event: str,
        data: object = None,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None: ...

    def signal(
        self,
        instance_id: str,
        event: EventType[Any] | str,
        data: object = None,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None:
        """Send an event to one instance. It is kept until the workflow waits for it; nothing is lost in between.

        Raises InstanceNotFoundError if there is no such instance, and InstanceEndedError if it has ended. With
        `session=` the commit of your own transaction sends it, and these answers are what that transaction sees now.

        With an `id` of yours, a second signal of this name and id to the same instance is dropped, whatever its
        content, even after the first one was received. The workflow sees the id as the event's `id`. The id is
        remembered for a week, and longer until `purge` is called. A later instance under this id remembers nothing.
        """
        self._call("signal", instance_id, event, data, key=key, id=id, session=session)

    def publish(
        self, type: str | EventType[Any], data: object = None, *, key: str | None = None, session: object
    ) -> None:
        """Send an event to the outside by the commit of your own transaction. A rollback sends nothing."""
        self._call("publish", type, data, key=key, session=session)
