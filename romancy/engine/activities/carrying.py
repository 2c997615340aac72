"""Carries the context variables of a body into the attempts of its activities."""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextvars import Context

__all__ = ["carry"]


def carry(variables: Context, into: Context) -> None:
    """Set the variables in the other context.

    The context of decimal arithmetic is left out. Arithmetic in the body makes one by itself, and it is no value:
    flags that an activity raises in it would be seen by the body, and a replay would not see them.
    """
    for variable, value in variables.items():
        if not issubclass(type(value), decimal.Context):
            into.run(variable.set, value)
