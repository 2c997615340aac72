"""Closes old or lost Django connections in the threads of plain activities, as Django does after requests."""

from __future__ import annotations

import copy
from functools import wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from django.db import close_old_connections

from romancy.declaring.callables import is_method

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.core import Input
    from romancy.engine.activities.attempt import Attempt, Made

__all__ = ["with_fresh_connections"]

_known: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


async def with_fresh_connections(attempt: Attempt, made: Made) -> Input:
    """Make an attempt. A plain function on a thread never gets a connection that has become unusable."""
    definition: Any = attempt.effect.definition
    if definition.is_async or getattr(definition, "executor", "thread") != "thread":
        return await made(attempt, definition)
    fresh = _known.get(definition)
    if fresh is None:
        fresh = copy.copy(definition)
        fresh.fn = _fresh(definition.fn)
        if not is_method(definition.fn):  # its object may hold the definition, and would never be freed
            _known[definition] = fresh
    return await made(attempt, fresh)


def _fresh(fn: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(fn)
    def called(*args: Any, **kwargs: Any) -> Any:
        close_old_connections()
        try:
            return fn(*args, **kwargs)
        finally:
            close_old_connections()

    return called
