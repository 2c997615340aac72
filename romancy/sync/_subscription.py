"""Subscriptions of channels, for code without `await`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Self, TypeVar

from romancy.sync._calling import Caller, Keeper

if TYPE_CHECKING:
    from types import TracebackType

    from romancy.messages.subscriptions import Subscription
    from romancy.retry import Duration

__all__ = ["SyncSubscription"]

M = TypeVar("M")


class SyncSubscription(Caller, Generic[M]):
    """What a named subscriber outside of workflows receives. A message comes again until it is acknowledged.

    Use it as a `with` block: `with channel.subscribe(name) as messages:`, then `for message in messages:`.
    """

    def __init__(self, keeper: Keeper, target: Subscription[M]) -> None:
        self._its_keeper = keeper
        self._inner = target

    @property
    def _keeper(self) -> Keeper:
        return self._its_keeper

    @property
    def _target(self) -> Subscription[M]:
        return self._inner

    def __enter__(self) -> Self:
        self._call("__aenter__")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Acknowledge the last message, unless an exception leaves the block.

        Raises StorageUnavailableError if the database stays away for some seconds. The message then comes again.
        """
        self._call("__aexit__", kind, error, trace)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> M:
        return self.receive()

    def receive(self, *, timeout: Duration | None = None) -> M:
        """Acknowledge the message before, and return the next one. Raises EventTimeoutError if none comes in time.

        Waits while the database is away. Raises SerializationError for a message that does not fit the type of the
        channel; the next call goes on. Raises CodecError for one that no codec of this app can open; the next call
        tries again. Raises UsageError if another thread receives here, and if `unsubscribe` has ended the subscription.
        """
        result: M = self._call("receive", timeout=timeout)
        return result

    def acknowledge(self) -> None:
        """Forget what was received so far. The next `receive` does it by itself.

        Raises StorageUnavailableError if the database stays away for some seconds.
        """
        self._call("acknowledge")
