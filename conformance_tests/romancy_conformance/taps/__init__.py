"""How the suite hears each statement of a store before it is sent, and can hold it there.

The adapters know nothing of it. A tap stands at the edge of the driver, outside the adapter, and hears the statements
that users run. Romancy's adapters have a tap each. The tap of another adapter is an entry point of its tests, named
after the adapter's top-level package:

    [project.entry-points."romancy.conformance.taps"]
    toy = "toy_tests:ToyTap"
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.taps.tap import Tap

__all__ = ["tap_of"]

_GROUP = "romancy.conformance.taps"
_OWN: Final = {
    "romancy_sqlite._memory": "memory:MemoryTap",
    "romancy_sqlite": "sqlite:SqliteTap",
    "romancy_postgres": "postgres:PostgresTap",
    "romancy_mysql": "mysql:MySQLTap",
}
"""The taps of Romancy's adapters by module or top-level package, each imported with its driver when it is needed."""


def tap_of(store: Store) -> Tap:
    """Return the tap for stores of this kind."""
    module = type(store).__module__
    return _tap_for(module if module in _OWN else module.partition(".")[0])


@cache
def _tap_for(package: str) -> Tap:
    if package in _OWN:
        module, name = _OWN[package].split(":")
        return cast("Tap", getattr(import_module(f"{__name__}.{module}"), name)())
    for found in entry_points(group=_GROUP, name=package):
        return cast("Tap", found.load()())
    raise AssertionError(
        f"nothing hears the statements of the package {package}: give its tests an entry point {package!r} in the "
        f"group {_GROUP!r}, a romancy_conformance.taps.tap.Tap"
    )
