"""The declared types of the fields of a class, also of one with arguments, and what `type` statements have made."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["hints_of", "is_alias"]


def is_alias(tp: Any) -> bool:
    """Whether a `type` statement has made it."""
    return type(tp).__name__ == "TypeAliasType"


def hints_of(tp: Any, cls: type, *, extras: bool = True) -> dict[str, Any]:
    """The types of the fields of `cls`. Where `tp` has arguments, they stand in the place of its type variables."""
    hints = typing.get_type_hints(cls, include_extras=extras)
    given = dict(zip(getattr(cls, "__parameters__", ()), get_args(tp), strict=False))
    return {name: _with_arguments(hint, given) for name, hint in hints.items()} if given else hints


def _with_arguments(hint: Any, given: Mapping[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return given.get(hint, hint)
    names = () if isinstance(hint, type) else getattr(hint, "__parameters__", ())
    declared: Any = hint
    return declared[tuple(given.get(name, name) for name in names)] if names else declared
