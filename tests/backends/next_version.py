"""A process of the next version, which is made up: this code with one more migration, which changes rows.

    python -m tests.backends.next_version URL

Otherwise it is the process of `romancy_conformance.contract.opener`.
"""

from __future__ import annotations

import sys

import pytest

from romancy.storage.schema import Migration
from romancy.storage.url import parse_url
from romancy_conformance.contract import opener
from tests.knowing import knowing

_MYSQL = """
create table if not exists romancy_tallies (workflow_name varbinary(255) primary key, instances bigint);
insert into romancy_tallies select workflow_name, count(*) from romancy_instances group by workflow_name
on duplicate key update instances = romancy_tallies.instances;
alter table romancy_instances add column shade varbinary(16) not null default 'red', add key by_shade (shade);
update romancy_instances set shade = 'blue';
"""
_OTHERS = """
create table romancy_tallies (workflow_name text primary key, instances bigint);
insert into romancy_tallies select workflow_name, count(*) from romancy_instances group by workflow_name;
alter table romancy_instances add column shade text not null default 'red';
create index romancy_instances_shade on romancy_instances (shade);
update romancy_instances set shade = 'blue';
"""
SQL = {"sqlite": _OTHERS, "postgres": _OTHERS, "mysql": _MYSQL, "mariadb": _MYSQL}
"""Counts the instances of each workflow, and marks those that are there."""


def next_version(kind: str, known: list[Migration]) -> list[Migration]:
    version = known[-1].version + 1
    return [*known, Migration(version, f"{version:04}_tallies", additive=False, sql=SQL[kind])]


if __name__ == "__main__":
    backend = {"postgresql": "postgres"}.get(scheme := parse_url(sys.argv[1]).scheme, scheme)
    knowing(pytest.MonkeyPatch(), backend, lambda known: next_version(backend, known))
    opener.main()
