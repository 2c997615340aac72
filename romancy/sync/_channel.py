"""Channels outside of workflows, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from romancy.sync._calling import Caller, Keeper
from romancy.sync._subscription import SyncSubscription

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from romancy.channel import ChannelMember, Message
    from romancy.messages.channels import AppChannel
    from romancy.storage.query import FilterValue


__all__ = ["SyncChannel"]

T = TypeVar("T")


class SyncChannel(Caller, Generic[T]):
    """A channel as a program uses it (`app.channel`)."""

    def __init__(self, keeper: Keeper, target: AppChannel[T]) -> None:
        self._its_keeper = keeper
        self._inner = target

    @property
    def _keeper(self) -> Keeper:
        return self._its_keeper

    @property
    def _target(self) -> AppChannel[T]:
        return self._inner

    @property
    def name(self) -> str:
        """The name."""
        result: str = self._target.name
        return result

    def publish(
        self,
        data: T,
        *,
        metadata: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        id: str | None = None,
        session: object = None,
    ) -> str:
        """Send a message to the subscribers, and return its id. It is durable when this returns.

        With an `id` of yours, a second message with that id is dropped, so that the call may be repeated. With
        `session=` the commit of your own transaction sends it.
        """
        result: str = self._call("publish", data, metadata=metadata, headers=headers, id=id, session=session)
        return result

    def send_to(
        self,
        instance_id: str,
        data: T,
        *,
        metadata: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        session: object = None,
    ) -> str:
        """Send a message to one instance, and return its id. It is kept until that instance receives it as `direct`.

        Raises InstanceNotFoundError if there is no such instance, and InstanceEndedError if it has ended.
        """
        result: str = self._call("send_to", instance_id, data, metadata=metadata, headers=headers, session=session)
        return result

    def subscribe(
        self,
        name: str,
        *,
        mode: Literal["broadcast", "competing"] = "broadcast",
        where: Mapping[str, FilterValue] | None = None,
    ) -> SyncSubscription[Message[T]]:
        """Take part in the channel under a name, in a `with` block. The subscription outlasts the block.

        Under the same name, the next block (of this process or of another) continues after the last acknowledged
        message. `unsubscribe(name)` ends the subscription. Use a name in one place at a time. `where` excludes messages
        whose data do not meet these conditions, in the form of `app.find_instances`.
        """
        return SyncSubscription(self._keeper, self._call("subscribe", name, mode=mode, where=where))

    def unsubscribe(self, name: str) -> None:
        """End the subscription of this name. Unacknowledged messages are dropped; if competing, others get them."""
        self._call("unsubscribe", name)

    def members(self) -> list[ChannelMember]:
        """The subscribers of the channel, in the order in which they subscribed."""
        result: list[ChannelMember] = self._call("members")
        return result
