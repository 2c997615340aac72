"""Checks that a function given by a test can be called as it will be."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["check_takes"]


def check_takes(option: str, given: Callable[..., Any] | None, *arguments: str) -> None:
    """Raise UsageError unless the function of this option takes these arguments. None takes any."""
    if given is None:
        return
    try:
        inspect.signature(given).bind(*arguments)
    except TypeError as error:
        raise UsageError(
            f"{option}= takes a function that is called as {option}({', '.join(arguments)}): {error}"
        ) from None
    except ValueError:
        return  # a function written in C may have no signature
