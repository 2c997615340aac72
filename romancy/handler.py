"""A kind of messages and the function of a body that handles one."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, cast

from romancy.errors import UsageError
from romancy.storage.limits import check_key

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from typing_extensions import TypeForm

__all__ = ["Handler"]

T = TypeVar("T")


class Handler(Generic[T]):
    """A kind of messages and the function that handles one, made by `Add.by(add)` for `ctx.handling`."""

    __slots__ = ("data", "function", "key", "name")

    kind: ClassVar[Literal["event", "request"]] = "event"

    def __init__(
        self, name: str, data: TypeForm[T], function: Callable[..., Coroutine[Any, Any, Any]], key: str | None
    ) -> None:
        if not inspect.iscoroutinefunction(function):
            raise UsageError(f"the handler of {self.kind} {name!r} must be an `async def`, not {function!r:.100}")
        check_key(key)
        self.name = name
        self.data = data
        self.function = function
        self.key = key
        self.refuse_other_parameters(function)

    def refuse_other_parameters(self, function: Callable[..., Any], of: str = "") -> None:
        """Raise UsageError if the function does not take the data of a message."""
        given = () if self.needs_no_data else (None,)
        try:
            inspect.signature(function).bind(*given)
        except TypeError as error:
            wanted = "one parameter, the data of the message" if given else "no parameter: its messages have no data"
            what = f"{of}the handler of {self.kind} {self.name!r}"
            raise UsageError(f"{what} must take {wanted}; {self!r}: {error}") from None

    @property
    def needs_no_data(self) -> bool:
        """Whether its messages have no data, so that its function has no parameter."""
        data = cast("Any", self.data)
        return data is None or data is type(None)

    def handle(self, data: T) -> Coroutine[Any, Any, Any]:
        """Call the function with the data of a message."""
        return self.function() if self.needs_no_data else self.function(data)

    def __repr__(self) -> str:
        return f"<handler {getattr(self.function, '__qualname__', self.function)} of {self.name!r}>"
