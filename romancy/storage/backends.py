"""Finds the store for a URL. Every adapter, Romancy's own included, registers in one entry-point group.

An entry point is named after a URL scheme and points to a callable that takes a `StorageURL` and returns an unopened
`Store`. The adapter reports a missing driver as `StorageConfigurationError`.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from romancy.errors import StorageConfigurationError
from romancy.storage.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from importlib.metadata import EntryPoint

    from romancy.storage.passwords import PasswordSource
    from romancy.storage.protocol import Store
    from romancy.storage.url import StorageURL

__all__ = ["GROUP", "create_store"]

GROUP = "romancy.backends"


def create_store(
    url: str,
    *,
    clock: Callable[[], int] | None = None,
    pace: Callable[[], Awaitable[None]] | None = None,
    password: PasswordSource | None = None,
) -> Store:
    """The unopened store for this URL. Nothing is connected yet.

    `clock` tells the database the time in microseconds. Only `memory://` can do without a clock of its own, and only it
    awaits `pace` before each request of an operation, for tests. `password` gives the password for each new connection
    to a server.
    """
    parsed = parse_url(url) if password is None else parse_url(url).with_password_of(password)
    try:
        point = _registered(parsed.scheme)
    except LookupError:  # an adapter may register a scheme with its driver
        parsed = parsed.without_driver()
        point = _known(parsed)
    try:
        factory = cast("Callable[..., Store]", point.load())
    except ImportError as error:
        raise StorageConfigurationError(
            f"storage URL {parsed}: the backend {point.value!r} cannot be imported ({error}); "
            f"install it, for our own with: pip install 'romancy[{parsed.scheme}]'"
        ) from error
    given = {name: one for name, one in (("clock", clock), ("pace", pace)) if one is not None}
    return factory(parsed, **given)


def _known(parsed: StorageURL) -> EntryPoint:
    try:
        return _registered(parsed.scheme)
    except LookupError:
        known = sorted({point.name for point in entry_points(group=GROUP)})
        near = get_close_matches(parsed.scheme, known, 1)
        meant = f"did you mean {near[0]}? Known" if near else "known"
        raise StorageConfigurationError(
            f"storage URL {parsed}: no backend for the scheme {parsed.scheme!r}; "
            f"{meant} are {', '.join(known)}. An adapter adds its own through the entry-point group {GROUP!r}"
        ) from None


@cache
def _registered(scheme: str) -> EntryPoint:
    """The entry point of a scheme, else `LookupError`, which is not kept.

    Finding it reads the metadata of everything that is installed, which takes longer than opening a SQLite file.
    """
    for point in entry_points(group=GROUP, name=scheme):
        return point
    raise LookupError(scheme)
