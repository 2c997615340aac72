"""Stores that disturb the apps of a test: each passes on the calls that it does not override."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import romancy.app
from romancy.storage.backends import create_store

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from romancy.storage.protocol import Store

__all__ = ["WrappedStore", "changed", "wrap_stores"]

Thing = TypeVar("Thing")
Wrapped = TypeVar("Wrapped")


class WrappedStore:
    """A store that passes every call on."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Changed:
    def __init__(self, thing: Any, members: dict[str, Any]) -> None:
        self._thing = thing
        vars(self).update(members)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


def changed(thing: Thing, **members: Any) -> Thing:
    """The same store, room or session, with these members in place of its own."""
    other: Any = _Changed(thing, members)
    return cast("Thing", other)


def wrap_stores(monkeypatch: pytest.MonkeyPatch, wrap: Callable[[Store], Wrapped]) -> list[Wrapped]:
    """Wrap the store of each app that is created from now on; the list returned grows by each of them."""
    made: list[Wrapped] = []

    def create(url: str, **options: Any) -> Any:
        made.append(wrap(create_store(url, **options)))
        return made[-1]

    monkeypatch.setattr(romancy.app, "create_store", create)
    return made
