"""A store, a service or a session of which a test changes some members."""

from __future__ import annotations

from typing import Any, TypeVar, cast

__all__ = ["changed"]

Thing = TypeVar("Thing")


class _Changed:
    def __init__(self, thing: Any, members: dict[str, Any]) -> None:
        self._thing = thing
        vars(self).update(members)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


def changed(thing: Thing, **members: Any) -> Thing:
    """The same store, service or session, with these members in place of its own."""
    other: Any = _Changed(thing, members)
    return cast("Thing", other)
