"""The context of activities that are plain functions."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any

from romancy.attempt_context import ActivityContext
from romancy.errors import UsageError
from romancy.stream import ActivityStream, declared_stream

__all__ = ["PlainActivityContext"]


class PlainActivityContext(ActivityContext):
    """The context of a plain function, which cannot await. It refuses the calls that must be awaited.

    Otherwise their coroutines would be dropped, and the activity would complete as if the calls had been made.
    """

    __slots__ = ()

    def heartbeat(self, *details: object) -> None:
        super().heartbeat(*details)
        if self._port.told_to_stop:
            raise CancelledError(f"activity {self.activity_id} was asked to stop")

    def stream(self, stream: Any, /, *, model: Any = Any) -> ActivityStream[Any]:
        return _PlainStream(declared_stream(stream, model), self._port, self.heartbeat)

    def publish(self, type: object, data: object = None, *, key: str | None = None) -> Any:  # noqa: ARG002 - the signature of the base class
        raise self._refusal("publish()", "return the data and let the workflow `await ctx.publish(…)`")

    def send(self, type: object, data: object = None, **_: object) -> Any:  # noqa: ARG002 - as above
        raise self._refusal("send()", "return the data and let the workflow `await ctx.send(…)`")

    def channel(self, channel: object, /, *, model: object = None) -> Any:  # noqa: ARG002 - as above
        raise self._refusal("channel()", "return the data and let the workflow publish it on its `ctx.channel(…)`")

    def _refusal(self, what: str, instead: str) -> UsageError:
        return UsageError(
            f"activity {self.activity_id} is a plain function, which cannot await {what}: make it an `async def`, "
            f"or {instead}"
        )


class _PlainStream(ActivityStream[Any]):
    __slots__ = ()

    def flush(self) -> Any:
        raise UsageError(
            "a plain function cannot await flush(): what it writes is in the database within a moment, and before its "
            "completion is; make it an `async def` to wait for it"
        )
