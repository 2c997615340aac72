"""Checks the secrets that a user gives. A refused value is never shown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_texts", "kind_of"]


def check_texts(given: Iterable[Any], who: str, what: str, *, bytes_too: bool = False) -> None:
    """Raise UsageError unless each is a text, or bytes where these are allowed. A list of several is one argument."""
    kinds = (str, bytes) if bytes_too else (str,)
    for each in given:
        if not isinstance(each, kinds):
            raise UsageError(
                f"{who} takes {what} as {'texts or bytes' if bytes_too else 'texts'}, each as an argument of its own, "
                f"not {kind_of(each)}; write {who}(first, second), or {who}(*several) for a list"
            )


def kind_of(given: Any) -> str:
    """The kind of a value, without its contents."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    return "None" if given is None else type(given).__name__
