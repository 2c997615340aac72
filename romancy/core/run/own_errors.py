"""An activity's own exception types, caught in the workflow by their class (decision 0029).

The log names the types under which the workflow catches a failure. Live and on replay, their classes are found by these
names. The exception is then both of its own class and a `RetryExhaustedError`, so that either `except` catches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from romancy.core.run.terminal import find_error
from romancy.errors import NonDeterminismError, RetryExhaustedError
from romancy.serialization import ErrorInfo, rebuild_exception

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from romancy.core.words import events as ev

__all__ = ["classes_of", "exhausted_as", "own_classes"]


def own_classes(
    info: ErrorInfo, named: Collection[str], fn: Callable[..., Any], error: BaseException | None = None
) -> dict[str, type[Exception]]:
    """For each exception in the record, the nearest class that is among the `named`, by name.

    `fn` raised it. A class is left out if it is not found by its name, or if the `error` itself is not an instance of
    it (two classes may have one name).
    """
    found: dict[str, type[Exception]] = {}
    for one in _each(info):
        for name in (one.type, *one.bases):
            cls = find_error(name, fn, Exception) if name in named else None
            if cls is not None and (one is not info or error is None or isinstance(error, cls)):
                found[name] = cls
                break
    return found


def _each(info: ErrorInfo) -> Iterator[ErrorInfo]:
    yield info
    for other in (*info.members, *(() if info.cause is None else (info.cause,))):
        yield from _each(other)


def classes_of(
    event: ev.ActivityFailed, fn: Callable[..., Any], declared: Mapping[str, type[Exception]]
) -> dict[str, type[Exception]]:
    """The classes as which, by the record, the failure is caught. Raises NonDeterminismError if one is not found."""
    found: dict[str, type[Exception]] = {}
    for name in event.own:
        cls = declared.get(name) or find_error(name, fn, Exception)
        if cls is None:
            raise NonDeterminismError(
                f"activity {event.id} failed with {name}, which the workflow catches as itself according to the log, "
                f"and there is no such exception class here: deploy the code that has {name}"
            )
        found[name] = cls
    return found


def exhausted_as(cls: type[Exception], name: str, info: ErrorInfo) -> RetryExhaustedError | None:
    """An exception of this class that is also a RetryExhaustedError; None if the class does not permit that."""
    try:
        kind: Any = type(cls)
        both: type[Exception] = kind(
            cls.__name__,
            (_Quietly, cls, RetryExhaustedError),
            {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__},
        )
        made = rebuild_exception(msgspec.structs.replace(info, cause=None, members=()), {name: both})
    except Exception:  # noqa: BLE001 - a metaclass, a layout or a property of the user's may refuse in any way
        return None
    return made if isinstance(made, RetryExhaustedError) and isinstance(made, both) else None


class _Quietly:
    """Keeps a class that registers its subclasses from registering ours."""

    __slots__ = ()

    def __init_subclass__(cls, **_: object) -> None:
        """Register nothing."""
