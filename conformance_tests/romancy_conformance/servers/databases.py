"""What a test asks for: the shared server of a kind, an empty database on it, a private server to maltreat."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from typing import TYPE_CHECKING

from .access import Access, AccessError, Shared, access_by_url
from .kinds import Kind, ServerUnavailableError
from .run import current_run

if TYPE_CHECKING:
    from .server import Server


_spare: defaultdict[Access, list[str]] = defaultdict(list)
"""Empty databases made of those that this process was given back, by their server."""


def shared_server(kind: Kind | str) -> Shared:
    """The server of `kind` for everybody: the one the environment names, else one of this run, started on first use."""
    kind = Kind(kind)
    if url := os.environ.get(kind.url_variable):
        return _named(kind, url)
    return current_run().shared(kind)


def fresh_database(kind: Kind | str) -> str:
    """The URL of an empty database on the shared server, which nobody else uses."""
    access = shared_server(kind).access
    return _spare[access].pop() if _spare[access] else access.fresh_database()


def give_back(kind: Kind | str, url: str) -> None:
    """End a database that `fresh_database` made, whoever still uses it."""
    access = shared_server(kind).access
    if name := access.recycle(url.rpartition("/")[2]):
        _spare[access].append(access.url(name))


def drop_spares() -> None:
    """Drop the databases given back so far: on a server that is not ours they would stay for ever."""
    for access, urls in _spare.items():
        while urls and access.socket is None:
            access.drop_database(urls.pop().rpartition("/")[2])


def private_server(kind: Kind | str) -> Server:
    """A server of the caller's own, not started yet; close it after use."""
    kind = Kind(kind)
    if kind.url_variable in os.environ:
        raise ServerUnavailableError(
            f"{kind.url_variable} names a server that is not ours to kill or freeze: unset it to run this test"
        )
    return current_run().private(kind)


@functools.cache
def _named(kind: Kind, url: str) -> Shared:
    access = access_by_url(kind, url)
    try:
        return Shared(access, access.version(), f"named by {kind.url_variable}")
    except AccessError as error:
        raise ServerUnavailableError(f"{kind.url_variable} names a server that does not answer: {error}") from error
