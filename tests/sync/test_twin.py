"""The classes without `await` are those with it: each public method, with the same parameters."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from romancy import AppChannel, Handle, Romancy, Subscription
from romancy.sync import SyncChannel, SyncHandle, SyncRomancy, SyncSubscription
from tools import tree
from tools.make_sync import LEFT_OUT, pages

MAKE = "write the classes again: python -m tools.make_sync"
TWINS: list[tuple[type[Any], type[Any]]] = [
    (Romancy, SyncRomancy),
    (Handle, SyncHandle),
    (AppChannel, SyncChannel),
    (Subscription, SyncSubscription),
]


def public(kind: type[Any]) -> dict[str, Any]:
    names = [name for name in dir(kind) if not name.startswith("_") and hasattr(kind, name)]
    return {name: inspect.getattr_static(kind, name) for name in names}


def test_the_files_are_current() -> None:
    old = [tree.name_of(path) for path, text in pages().items() if text != path.read_text("utf-8")]
    assert old == [], MAKE


@pytest.mark.parametrize(("original", "twin"), TWINS)
def test_nothing_is_missing(original: type[Any], twin: type[Any]) -> None:
    left_out = LEFT_OUT.get(original.__name__, {}).keys()
    assert public(original).keys() - left_out == public(twin).keys() - left_out - {"close", "open", "wait"}


@pytest.mark.parametrize(("original", "twin"), TWINS)
def test_the_parameters_are_the_same(original: type[Any], twin: type[Any]) -> None:
    members = public(twin)
    assert parameters(original) == parameters(twin) or original is not Romancy
    for name, member in public(original).items():
        if name in members and not isinstance(member, property):
            assert parameters(member) == parameters(members[name]), name
            assert not inspect.iscoroutinefunction(members[name]), name


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in found]
