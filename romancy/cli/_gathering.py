"""Several options that a command gets as one value."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["gathered"]

T = TypeVar("T")


def gathered(
    name: str, make: Callable[..., object], *options: Callable[[Any], Any]
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Declare these options, in this order, and give the command, as `name`, what `make` makes of their values.

    `make` takes the options by their names. It may also take others that decorators above this one declare.
    """
    taken = inspect.signature(make).parameters

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(command)
        def gathering(**values: Any) -> T:
            made = make(**{each: values.pop(each) for each in taken if each in values})
            return command(**values, **{name: made})

        for option in reversed(options):
            gathering = option(gathering)
        return gathering

    return decorate
