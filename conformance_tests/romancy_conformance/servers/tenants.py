"""A schema of Citus for each test, on a cluster that a run shares. Started on first use.

Each schema has a role of its name, so that it is on the role's search path: SQL of a test that names no schema finds
the tables of Romancy, as it does on a database of the test's own.
"""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from romancy_conformance.stores import migrate

from .access import AccessError, access_by_url
from .citus import CitusCluster
from .kinds import Kind

__all__ = ["VARIABLE", "close", "coordinator", "fresh_schema", "give_back", "migrated_schema"]

VARIABLE: Final = "ROMANCY_TEST_CITUS_URL"
"""Names a coordinator to use instead of one of our own. Everybody may connect to it without a password."""
_SESSIONS: Final = "select count(pg_terminate_backend(pid, 1000)) from pg_stat_activity where usename = '{name}'"
_LEFT: Final = "select count(*) from pg_stat_activity where usename = '{name}'"
_TABLES: Final = "select string_agg(tablename, ',' order by tablename) from pg_tables where schemaname = '{name}'"
_VERSIONS: Final = "select string_agg(version || ' ' || name, ',' order by version) from {name}.romancy_schema"

_running: list[CitusCluster] = []
_spare: list[str] = []
"""URLs of schemas with tables and without rows, which tests have given back to this process."""
_clean: list[str] = []
"""The shape of a migrated schema, if one was made: its tables, and its recorded migrations."""


def coordinator() -> str:
    """The URL of the coordinator's database. `ServerUnavailableError` without one."""
    if VARIABLE not in os.environ:
        cluster = CitusCluster()
        _running.append(cluster)
        cluster.start()
        os.environ[VARIABLE] = cluster.coordinator.url("app")
    return os.environ[VARIABLE]


def fresh_schema() -> str:
    """The URL of a schema that does not exist yet, for one caller alone."""
    parts = urlsplit(coordinator())
    name = f"t_{uuid4().hex[:12]}"
    _ask("create role {name} superuser login", name)
    return f"postgresql://{name}@{parts.hostname}:{parts.port}{parts.path}?schema={name}"


def migrated_schema() -> str:
    """The URL of a schema with tables and without rows."""
    while _spare:
        url = _spare.pop()
        if not _ask(_LEFT, _name(url)):
            return url
        _drop(url)
    url = fresh_schema()
    migrate(url)
    if not _clean:
        _clean.extend(_shape(_name(url)))
    return url


def give_back(url: str, *, migrated: bool) -> None:
    """Take back a schema from this module, and end all sessions of its role."""
    name = _name(url)
    _ask(_SESSIONS, name)
    if not migrated or _shape(name) != _clean:
        _drop(url)
        return
    kept = [f"{name}.{table}" for table in _clean[0].split(",") if table != "romancy_schema"]
    try:
        _ask(f"truncate {', '.join(kept)}", name)
    except AccessError:
        _drop(url)
    else:
        _spare.append(url)


def close() -> None:
    """End the cluster of this process."""
    while _running:
        _running.pop().close()
        os.environ.pop(VARIABLE, None)


def _shape(name: str) -> list[str]:
    """What a test may have changed so that its schema serves no other: tables and recorded migrations."""
    try:
        return [str(_ask(_TABLES, name)), str(_ask(_VERSIONS, name))]
    except AccessError:
        return []


def _drop(url: str) -> None:
    try:
        _ask("drop schema if exists {name} cascade", _name(url))
    except AccessError:
        return  # it goes with the cluster; no other test gets it


def _name(url: str) -> str:
    return url.rpartition("schema=")[2]


def _ask(statement: str, name: str) -> object:
    answer: object = access_by_url(Kind.POSTGRES, coordinator()).fetch(statement.format(name=name))
    return answer
