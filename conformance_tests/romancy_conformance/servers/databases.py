"""What a test asks for: the shared server of a kind, an empty database on it, a private server to maltreat."""

from __future__ import annotations

import functools
import os
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from romancy_conformance.stores import migrate

from .access import Access, AccessError, Shared, access_by_url
from .kinds import Kind, ServerUnavailableError
from .run import current_run

if TYPE_CHECKING:
    from .schemas import Schema
    from .server import Server


_spare: defaultdict[Access, list[str]] = defaultdict(list)
"""Empty databases made of those that this process was given back, by their server."""
_migrated: defaultdict[Access, deque[str]] = defaultdict(deque)
"""As `_spare`, of databases that have their tables. The one that was given back first comes first."""
_tables: dict[Access, Schema] = {}
"""What a migrated database of each server looks like."""


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


def migrated_database(kind: Kind | str) -> str:
    """The URL of a database on the shared server, which has its tables and no rows, and which nobody else uses."""
    access = shared_server(kind).access
    spares = _migrated[access]
    while spares:
        url = spares.popleft()
        if access.is_unused(_name(url)):
            return url
        access.drop_database(_name(url))
    url = fresh_database(kind)
    migrate(url)
    if access not in _tables:
        _tables[access] = access.schema(_name(url))
    return url


def give_back(kind: Kind | str, url: str) -> None:
    """End a database that came from here, whoever still uses it."""
    access = shared_server(kind).access
    tables = _tables.get(access)
    if tables is not None and (name := access.wipe(_name(url), tables)):
        _migrated[access].append(access.url(name))
    elif name := access.recycle(_name(url)):
        _spare[access].append(access.url(name))


def drop_spares() -> None:
    """Drop the databases given back so far: on a server that is not ours they would stay for ever."""
    for spares in (_spare, _migrated):
        for access, urls in spares.items():
            while urls and access.socket is None:
                access.drop_database(_name(urls.pop()))


def _name(url: str) -> str:
    return url.rpartition("/")[2]


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
