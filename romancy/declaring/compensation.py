"""Compensations: functions that undo an activity, and whether they can be called with what the activity was given."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Unpack

from romancy._call_options import ActivityOptions, UndoKeywords
from romancy.declaring.callables import check_function, declared_at, is_async, name_of
from romancy.depends import dependencies_of, is_dependency
from romancy.errors import RegistrationError
from romancy.serialization import Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from msgspec import Raw

    from romancy.activity import Activity
    from romancy.retry import RetryPolicy

__all__ = ["Compensation"]


class Compensation:
    """Undoes an activity: takes the activity's parameters, or its `result` first and then those."""

    kind = "compensation"

    def __init__(self, fn: Callable[..., object], **options: Unpack[UndoKeywords]) -> None:
        check_function(fn, "compensation")
        self.fn = fn
        self.name = name_of(fn, options.pop("name", None), "compensation")
        self.given = ActivityOptions.of_compensation(options)
        self.is_async = is_async(fn)
        self.declared_at = declared_at(fn)
        self.dependencies = dependencies_of(fn)
        self.signature = Signature.of(fn, subject=f"compensation {self.name!r}", is_injected=is_dependency)
        update_wrapper(self, fn)

    @property
    def retry(self) -> RetryPolicy | None:
        return self.given.retry

    @property
    def takes_result(self) -> bool:
        """Whether its first parameter is named `result`: it then gets the activity's result."""
        return self.signature.names[:1] == ("result",)

    def arguments(self, activity: Activity[..., Any], args: Raw, result: Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the call: those of the activity, preceded by its result if the compensation takes it."""
        positional, named = activity.signature.decode_arguments(args)
        if self.takes_result and activity.signature.names[:1] != ("result",):
            positional = (activity.signature.decode_result(result), *positional)
        return positional, named

    def check_fits(self, activity: Activity[..., Any], /) -> None:
        """Raise RegistrationError unless the compensation can be called with the activity's arguments."""
        misfit = _misfit(self.signature, activity.signature)
        if misfit is not None:
            raise RegistrationError(
                f"compensation {self.name} of activity {activity.name} {misfit}; give it the parameters of the "
                f"activity ({_listed(activity.signature.names)}), or `result` and then those"
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function; a workflow never calls a compensation itself."""
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<compensation {self.name}>"


def _misfit(undo: Signature, done: Signature) -> str | None:
    """The reason why a compensation cannot be called with its activity's arguments. None if it can."""
    if "result" in undo.names[1:] and "result" not in done.names:
        return "takes `result`, but not as its first parameter"
    takes = [parameter for parameter in undo.parameters if not parameter.keyword_only]
    if undo.names[:1] == ("result",) and done.names[:1] != ("result",):
        takes = takes[1:]
    by_place = [parameter.name for parameter in done.parameters if not parameter.keyword_only]
    by_name = [parameter.name for parameter in done.parameters if parameter.keyword_only]
    for taken, name in zip(takes, by_place, strict=False):
        if taken.name != name and taken.name in by_place:
            return f"takes {taken.name!r} in the place of {name!r}"
    others = [*takes[len(by_place) :], *(parameter for parameter in undo.parameters if parameter.keyword_only)]
    missing = [*by_place[len(takes) :], *(name for name in by_name if name not in {other.name for other in others})]
    if missing:
        return f"does not take {_listed(missing)}"
    unmet = [other.name for other in others if other.required and other.name not in by_name]
    return f"asks for {_listed(unmet)} as well" if unmet else None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
