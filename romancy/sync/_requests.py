"""Asking instances from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from romancy.sync._asked import SyncAsked
from romancy.sync._calling import Caller

if TYPE_CHECKING:
    from romancy.request import RequestType
    from romancy.retry import Duration


__all__ = ["SyncRequests"]

T = TypeVar("T")
R = TypeVar("R")


class SyncRequests(Caller):
    """Asks instances, wherever they run."""

    @overload
    def ask(
        self, instance_id: str, type: RequestType[None, R], data: None = None, *, id: str | None = None
    ) -> SyncAsked[R]: ...

    @overload
    def ask(self, instance_id: str, type: RequestType[T, R], data: T, *, id: str | None = None) -> SyncAsked[R]: ...

    @overload
    def ask(self, instance_id: str, type: str, data: object = None, *, id: str | None = None) -> SyncAsked[Any]: ...

    def ask(
        self, instance_id: str, type: RequestType[Any, Any] | str, data: object = None, *, id: str | None = None
    ) -> SyncAsked[Any]:
        """Send a request to an instance without waiting for its answer. The request is durable when this returns.

        Raises SerializationError for data that do not fit the type, InstanceNotFoundError and InstanceEndedError.

        With an `id` of yours, a request of this name and id is sent to the instance once, whatever its data, and this
        finds its answer: from any process, also after the instance has ended, as long as its log is kept.
        """
        return SyncAsked(self._keeper, self._call("ask", instance_id, type, data, id=id))

    @overload
    def request(
        self,
        instance_id: str,
        type: RequestType[None, R],
        data: None = None,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> R: ...

    @overload
    def request(
        self,
        instance_id: str,
        type: RequestType[T, R],
        data: T,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> R: ...

    @overload
    def request(
        self,
        instance_id: str,
        type: str,
        data: object = None,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> Any: ...

    def request(
        self,
        instance_id: str,
        type: RequestType[Any, Any] | str,
        data: object = None,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> Any:
        """Send a request to an instance, and return the reply of its handler. Raises what `ask` and `reply` raise."""
        return self._call("request", instance_id, type, data, timeout=timeout, id=id)
