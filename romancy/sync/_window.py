"""Windows of calls, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from romancy.sync._calling import Caller, Keeper
from romancy.sync._handle import SyncHandle

if TYPE_CHECKING:
    from romancy.retry import Duration
    from romancy.windows.handle import WindowHandle
    from romancy.windows.looking import Window


__all__ = ["SyncWindowHandle"]

T = TypeVar("T")


class SyncWindowHandle(Caller, Generic[T]):
    """The window that a call has come to, or one by its key."""

    def __init__(self, keeper: Keeper, target: WindowHandle[T]) -> None:
        self._its_keeper = keeper
        self._inner = target

    @property
    def _keeper(self) -> Keeper:
        return self._its_keeper

    @property
    def _target(self) -> WindowHandle[T]:
        return self._inner

    @property
    def instance_id(self) -> str:
        """The id of the instance that is the window. Its children are what it has started."""
        result: str = self._target.instance_id
        return result

    def get(self) -> Window | None:
        """The window as it is now. None: there was no call for this key lately."""
        result: Window | None = self._call("get")
        return result

    def started(self, timeout: Duration | None = None) -> SyncHandle[T]:
        """The instance to which this call has come, once the window has started it.

        Raises TimeoutError if it has not within `timeout`, and InstanceNotFoundError if it never will: the calls were
        dropped, the window was stopped, or it is so long ago that it is forgotten. A handle by its key has no call, and
        raises UsageError.
        """
        return SyncHandle(self._keeper, self._call("started", timeout))

    def flush(self) -> None:
        """Close the window now: what its calls come to is started. Without calls, nothing is."""
        self._call("flush")

    def drop(self) -> None:
        """Forget the calls of the window. Nothing is started for them."""
        self._call("drop")
