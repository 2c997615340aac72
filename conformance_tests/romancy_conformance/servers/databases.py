"""What a test asks for: the shared server of a kind, an empty database on it, a private server to kill and freeze."""

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
"""Empty databases, by their server, made from databases that tests gave back to this process."""
_migrated: defaultdict[Access, deque[str]] = defaultdict(deque)
"""Like `_spare`, of databases with tables. The queue returns the one that was given back first."""
_tables: dict[Access, Schema] = {}
"""The schema of a migrated database on each server."""


def shared_server(kind: Kind | str) -> Shared:
    """Return the server of `kind` that the environment names, else one of this run, started on first use."""
    kind = Kind(kind)
    if url := os.environ.get(kind.url_variable):
        return _named(kind, url)
    return current_run().shared(kind)


def fresh_database(kind: Kind | str) -> str:
    """Return the URL of an empty database on the shared server, for one caller alone."""
    access = shared_server(kind).access
    return _spare[access].pop() if _spare[access] else access.fresh_database()


def migrated_database(kind: Kind | str) -> str:
    """Return the URL of a database with tables and without rows on the shared server, for one caller alone."""
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
    """Take back a database from this module, and end all sessions in it."""
    access = shared_server(kind).access
    tables = _tables.get(access)
    if tables is not None and access.wipe(_name(url), tables):
        _migrated[access].append(url)
    elif name := access.recycle(_name(url)):
        _spare[access].append(access.url(name))


def drop_spares() -> None:
    """Drop the databases given back so far: on an external server they would stay for ever."""
    for spares in (_spare, _migrated):
        for access, urls in spares.items():
            while urls and access.socket is None:
                access.drop_database(_name(urls.pop()))
    for access in _tables:
        access.hang_up()


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def private_server(kind: Kind | str) -> Server:
    """Return a server for the caller alone, not started yet; close it after use."""
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
