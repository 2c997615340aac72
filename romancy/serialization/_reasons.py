"""Turns errors of msgspec, pydantic and the user's classes into one sentence without any payload in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import msgspec

from romancy.serialization._culprit import find_unwritable
from romancy.serialization._hooks import MisfitError
from romancy.serialization._value_at_fault import refusal, render_path, type_name

if TYPE_CHECKING:
    from romancy.serialization._value_at_fault import Where

_NAMES_THE_VALUE: Final = re.compile(r"Invalid (enum )?value ")

WRITTEN_BEFORE: Final = "was the type changed since the value was written?"
"""The advice about a stored value that does not fit its type. A caller that has just got the value leaves it out."""
_NULL: Final = re.compile(r"\bnull\b")
_DAMAGED: Final = "it is damaged, or was not written by this library"


class _Finding(NamedTuple):
    path: str
    reason: str
    shown: Exception | None = None
    """The error to chain. Only an error of the user's own code is chained."""
    advice: str = WRITTEN_BEFORE


def raise_unwritable(value: object, where: Where | str, error: Exception | None, *, encoded: bool = False) -> NoReturn:
    """Raise the error for a value. `encoded`: it was written, and was refused when it was read back."""
    culprit = find_unwritable(value)
    if culprit is not None:
        raise refusal(where, *culprit) from None
    if error is None:
        raise refusal(where, "$", "its JSON is nested too deeply; flatten it")
    finding = _explain(error, "read back" if encoded else "written")
    raise refusal(where, finding.path, finding.reason) from finding.shown


def raise_unreadable(error: Exception, where: Where | str, declared: Any) -> NoReturn:
    finding = _explain(error, "read")
    shape = "" if declared is Any else f" (declared as {type_name(declared)})"
    raise refusal(where, finding.path, f"{finding.reason}{shape}; {finding.advice}") from finding.shown


def _explain(error: Exception, doing: str) -> _Finding:
    if isinstance(error, msgspec.ValidationError):
        return _explain_misfit(error)
    if isinstance(error, msgspec.DecodeError):
        return _Finding("$", f"not valid JSON ({error})", advice=_DAMAGED)
    if isinstance(error, UnicodeDecodeError):
        return _Finding("$", "not valid JSON (it is not UTF-8)", advice=_DAMAGED)
    if isinstance(error, RecursionError):
        return _Finding("$", "nested deeper than the interpreter can follow", advice=_DAMAGED)
    return _Finding("$", f"{type_name(type(error))} was raised while it was {doing}", error)


def _explain_misfit(error: msgspec.ValidationError) -> _Finding:
    text, _, place = str(error).rpartition(" - at `")
    if not text:
        text, place = str(error), "$"
    in_key = place.startswith("key` in `")
    path = place.removeprefix("key` in `").rstrip("`")
    cause = error.__cause__
    if isinstance(cause, MisfitError) and cause.findings:
        (inner, reason), *others = [(path + render_path(steps)[1:], said) for steps, said in cause.findings]
        return _Finding(inner, "; ".join([reason, *(f"at {other}: {said}" for other, said in others)]))
    if isinstance(cause, MisfitError) and cause.__cause__ is not None:
        return _explain_inside(path, cause)
    if isinstance(cause, Exception) and not isinstance(cause, MisfitError):
        return _Finding(path, f"refused by a check of its own class ({type_name(type(cause))})", cause)
    if _NAMES_THE_VALUE.match(text):
        text = "not one of the values declared"
    reason = text[:1].lower() + _NULL.sub("None", text[1:].replace("`", ""))
    return _Finding(path, f"in a key, {reason}" if in_key else reason)


def _explain_inside(path: str, misfit: MisfitError) -> _Finding:
    """The error that another error has caused: of a member of a union, or of a function of the user's."""
    inside = misfit.__cause__
    if isinstance(inside, msgspec.ValidationError):
        finding = _explain_misfit(inside)
        return finding._replace(path=path + finding.path[1:])
    return _Finding(path, str(misfit), inside if isinstance(inside, Exception) else None)
