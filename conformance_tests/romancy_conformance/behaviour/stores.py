"""Stores that disturb the apps of a test: each passes on the calls that it does not override."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import romancy.app
from romancy.storage.backends import create_store

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from romancy.storage.protocol import Store

__all__ = ["WrappedStore", "wrap_stores"]

Wrapped = TypeVar("Wrapped")


class WrappedStore:
    """A store that passes every call on."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def wrap_stores(monkeypatch: pytest.MonkeyPatch, wrap: Callable[[Store], Wrapped]) -> list[Wrapped]:
    """Wrap the store of each app that is created from now on; the list returned grows by each of them."""
    made: list[Wrapped] = []

    def create(url: str, **options: Any) -> Any:
        made.append(wrap(create_store(url, **options)))
        return made[-1]

    monkeypatch.setattr(romancy.app, "create_store", create)
    return made
