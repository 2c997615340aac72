"""Checks of an app's options, made before anything is opened. UsageError names the option."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from romancy.errors import UsageError
from romancy.hooks import Hook
from romancy.retry import Duration, seconds
from romancy.storage.limits import check_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from romancy.storage.passwords import PasswordSource

__all__ = ["hooks_of", "label", "password_source", "some_time", "some_time_or_ever", "times", "yes_or_no"]


def some_time(value: Duration, what: str) -> float:
    """A duration in seconds, more than 0."""
    given = seconds(value, what)
    if not given:
        raise UsageError(f"{what} must be more than 0 seconds")
    return given


def times(**given: Duration | None) -> Iterator[float | None]:
    """Durations in seconds, each more than 0, by the names of their options. None stays None."""
    return (None if value is None else some_time(value, what) for what, value in given.items())


def some_time_or_ever(value: Duration | None, what: str) -> float | None:
    """A duration in seconds, more than 0, or `math.inf` for no limit. None stays None."""
    return value if value is None or value == math.inf else some_time(value, what)  # type: ignore[return-value]


def yes_or_no(value: Any, what: str) -> bool:
    """Return a bool. Refuses other truthy or falsy values."""
    if not isinstance(value, bool):
        raise UsageError(f"{what} must be True or False, not {value!r}")
    return value


def password_source(value: Any) -> PasswordSource | None:
    """A function that gives the password. A password is refused, which would be shown with the app's options."""
    if value is not None and not callable(value):
        raise UsageError(
            f"password= takes a function that returns the password, not {type(value).__name__}; "
            "a password that stays the same belongs in the URL, or for PostgreSQL in PGPASSWORD or ~/.pgpass"
        )
    return value  # type: ignore[no-any-return]


def label(value: Any, what: str) -> str | None:
    """A name that every database can store unchanged."""
    if value is not None:
        check_id(value, what)
    return value  # type: ignore[no-any-return]


def hooks_of(given: Iterable[Hook]) -> tuple[Hook, ...]:
    """The hooks, each checked to be one."""
    hooks: tuple[Any, ...] = tuple(given) if hasattr(given, "__iter__") else (given,)
    for hook in hooks:
        if not isinstance(hook, Hook):
            raise UsageError(f"hooks= takes instances of romancy.hooks.Hook, not a {type(hook).__name__}")
    return hooks
