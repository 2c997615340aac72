"""Older programs on newer schemas: they work where each newer migration is additive, and are refused elsewhere.

Both programs are this code. The newer one knows migrations that are made up here.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from romancy import EventType, Romancy, Status, WorkflowContext, activity, workflow
from romancy.errors import RomancyError, SchemaVersionError
from romancy.storage.backends import create_store
from romancy.storage.schema import Migration
from romancy.sync import SyncRomancy
from romancy_conformance.contract.opener import open_together
from romancy_conformance.contract.scripts import fetch_rows, run_script
from tests.backends import next_version
from tests.knowing import as_program, knowing, package_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from romancy.storage.upkeep import Plan

    Change = Callable[[list[Migration]], list[Migration]]

KINDS = ("sqlite", "postgres", "mysql", "mariadb")
pytestmark = [pytest.mark.anyio, pytest.mark.backends(*KINDS)]

PAID = EventType("older_programs.paid", int)

_INDEX = {
    "sqlite": "create index romancy_instances_code on romancy_instances (code);\n",
    "postgres": "create index romancy_instances_code on romancy_instances (code);\n",
    "mysql": "alter table romancy_instances add key by_code (code(200));\n",
    "mariadb": "alter table romancy_instances add key by_code (code(200));\n",
}
_TABLE = {
    "sqlite": "create table romancy_notes (id integer primary key, text text);\n",
    "postgres": "create table romancy_notes (id integer primary key, text text);\n",
    "mysql": "create table if not exists romancy_notes (id int primary key, text text);\n",
    "mariadb": "create table if not exists romancy_notes (id int primary key, text text);\n",
}
_COLUMNS = "".join(
    f"alter table romancy_{table} add column shade varchar(20) default 'red';\n"
    for table in ("instances", "log", "inbox", "workers", "index", "seen", "outbox")
)
_ALL = {kind: _INDEX[kind] + _TABLE[kind] + _COLUMNS for kind in KINDS}
"""All that a migration may add: an index, a table, and columns of tables that a worker writes."""
_BROKEN = "insert into romancy_nothing values (1);\n"


@activity
async def reserve(what: str) -> str:
    return what


@workflow(index=["what"])
async def order_on_a_newer_schema(ctx: WorkflowContext, what: str) -> str:
    await reserve(what)
    paid = await ctx.wait_event(PAID)
    return f"{what} for {paid.data}"


ALL = [order_on_a_newer_schema]


def same(known: list[Migration]) -> list[Migration]:
    return known


def adding(sql: str, *, additive: bool, name: str = "to_come") -> Change:
    """Return what a program knows that has one more migration."""

    def add(known: list[Migration]) -> list[Migration]:
        version = known[-1].version + 1
        return [*known, Migration(version, f"{version:04}_{name}", additive, sql)]

    return add


class Programs:
    """Opens apps and stores as the older or as the newer of two programs."""

    def __init__(self, url: str, older: Change, newer: Change) -> None:
        self.url = url
        self.older, self.newer = older, newer

    @asynccontextmanager
    async def app(self, program: Change, **options: Any) -> AsyncGenerator[Romancy]:
        with as_program(program):
            app = Romancy(self.url, workflows=ALL, **options)
            await app.__aenter__()
        try:
            yield app
        finally:
            await app.__aexit__(None, None, None)

    async def open(self, program: Change, *, migrate: bool = True) -> None:
        with as_program(program):
            store = create_store(self.url)
            try:
                await store.open(migrate=migrate)
            finally:
                await store.close()

    async def plan(self, program: Change) -> Plan:
        upkeep = create_store(self.url).services.upkeep
        with as_program(program):
            return await upkeep.plan()


@pytest.fixture
def programs(backend: str, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """The newer one has one more migration, an index."""
    knowing(monkeypatch, backend, same)
    return Programs(empty_url, same, adding(_INDEX[backend], additive=True))


def of(programs: Programs, newer: Change) -> Programs:
    return Programs(programs.url, programs.older, newer)


async def pays(app: Romancy, name: str, cents: int) -> str:
    await app.signal(name, PAID, cents)
    result: str = await app.handle(name).result(timeout=60)
    return result


@pytest.mark.parametrize("changes", [_INDEX, _ALL], ids=["an index", "an index, a table and columns"])
@pytest.mark.parametrize("migrate", [True, False])
async def test_an_older_program_works_on_a_newer_schema_that_is_additive(
    programs: Programs, backend: str, changes: dict[str, str], migrate: Any
) -> None:
    programs = of(programs, adding(changes[backend], additive=True))
    name = order_on_a_newer_schema.options(instance_id="by the newer one")
    async with programs.app(programs.newer, worker=False) as newer:
        await newer.start(name, "lamp")

    async with programs.app(programs.older, migrate=migrate) as older:
        await older.start(order_on_a_newer_schema.options(instance_id="by the older one"), "chair")
        assert "lamp for 3" == await pays(older, "by the newer one", 3)
        assert "chair for 4" == await pays(older, "by the older one", 4)
        await older.start(order_on_a_newer_schema.options(instance_id="left open"), "table")
        assert ["by the older one"] == [one.instance_id async for one in older.iter_instances({"what": "chair"})]

    async with programs.app(programs.newer, migrate=False) as newer:
        assert "table for 5" == await pays(newer, "left open", 5)
        ended = [one.instance_id async for one in newer.iter_instances(status=Status.COMPLETED)]
        assert {"by the newer one", "by the older one", "left open"} == set(ended)


async def test_an_older_worker_runs_on_while_the_newer_program_migrates_and_can_be_restarted(
    programs: Programs, backend: str
) -> None:
    programs = of(programs, adding(_ALL[backend], additive=True))
    async with programs.app(programs.older) as older:
        await older.start(order_on_a_newer_schema.options(instance_id="o-1"), "lamp")
        await programs.open(programs.newer)
        assert "lamp for 1" == await pays(older, "o-1", 1)
        await older.start(order_on_a_newer_schema.options(instance_id="o-2"), "lamp")
    async with programs.app(programs.older) as restarted, programs.app(programs.newer):
        assert "lamp for 2" == await pays(restarted, "o-2", 2)


async def test_an_older_program_is_refused_where_the_migration_does_not_say_that_it_is_additive(
    programs: Programs, backend: str
) -> None:
    programs = of(programs, adding(_INDEX[backend], additive=False))
    await programs.open(programs.newer)

    said = r"it has version (\d+) \('\d+_to_come'\), on which older .* up to version (\d+); run a newer version"
    with pytest.raises(SchemaVersionError, match=said):
        await programs.open(programs.older, migrate=False)
    with pytest.raises(SchemaVersionError, match=said) as caught:
        await programs.open(programs.older)
    ((newer, older),) = re.findall(said, str(caught.value))
    assert int(newer) == int(older) + 1
    with pytest.raises(SchemaVersionError, match=said):
        async with programs.app(programs.older):
            pass
    with pytest.raises(SchemaVersionError, match=said):
        await asyncio.to_thread(SyncRomancy(programs.url, workflows=ALL).open)
    with pytest.raises(SchemaVersionError, match=said):
        await programs.plan(programs.older)
    async with programs.app(programs.newer) as newer_app:
        await newer_app.start(order_on_a_newer_schema.options(instance_id="o-1"), "lamp")
        assert "lamp for 1" == await pays(newer_app, "o-1", 1)


async def test_an_additive_migration_after_one_that_is_not_changes_nothing(programs: Programs, backend: str) -> None:
    first = adding(_TABLE[backend], additive=False, name="stops_older_code")
    second = adding(_INDEX[backend], additive=True)
    await programs.open(lambda known: second(first(known)))

    with pytest.raises(SchemaVersionError, match="stops_older_code"):
        await programs.open(programs.older)
    await programs.open(first)


async def test_a_newer_program_on_an_older_database_migrates_it_or_says_what_it_lacks(programs: Programs) -> None:
    await programs.open(programs.older)

    lacking = r"older than this .* it has version \d+ and lacks \d+_to_come; `romancy migrate"
    with pytest.raises(SchemaVersionError, match=lacking):
        await programs.open(programs.newer, migrate=False)
    before = await programs.plan(programs.newer)
    await programs.open(programs.newer)
    after = await programs.plan(programs.newer)

    assert (1, False, before.steps, ()) == (len(before.steps), before.fresh, before.additive, before.stopping)
    assert ((), ()) == (after.steps, after.unknown)
    assert 1 == len((await programs.plan(programs.older)).unknown)


async def test_a_plan_tells_which_step_stops_older_code_and_its_script_records_it(
    programs: Programs, backend: str
) -> None:
    await programs.open(programs.older)
    first = adding(_INDEX[backend], additive=True, name="an_index")
    second = adding(_TABLE[backend], additive=False, name="a_table")

    plan = await programs.plan(lambda known: second(first(known)))
    assert (plan.steps[:1], plan.steps[1:]) == (plan.additive, plan.stopping)
    await run_script(programs.url, (await programs.plan(first)).sql)
    await programs.open(programs.older)
    await programs.open(first, migrate=False)
    await run_script(programs.url, (await programs.plan(lambda known: second(first(known)))).sql)
    with pytest.raises(SchemaVersionError, match="a_table"):
        await programs.open(programs.older)


@pytest.mark.parametrize("additive", [True, False])
async def test_an_old_and_a_new_program_open_an_empty_database_at_once(
    programs: Programs, backend: str, additive: Any
) -> None:
    newer = adding(_INDEX[backend], additive=additive)

    opened = await asyncio.gather(*(programs.open(program) for program in (same, newer) * 4), return_exceptions=True)

    assert [None] * 4 == opened[1::2]
    refused = [one for one in opened[::2] if one is not None]
    assert refused == [] or (not additive and {SchemaVersionError} == {type(one) for one in refused})
    await programs.open(newer, migrate=False)


@pytest.mark.parametrize("additive", [True, False])
async def test_a_migration_that_fails_amid_its_steps_tells_older_programs_what_it_would_have_told(
    programs: Programs, backend: str, additive: Any
) -> None:
    """Where DDL is in a transaction, nothing of it is left. Elsewhere a part is, and the next process goes on.

    There the migration is recorded before its first step, as one that stops older programs or not.
    """
    first, later = (_INDEX[backend], "") if additive else ("", _INDEX[backend])
    broken = adding(first + _BROKEN + later + _TABLE[backend], additive=additive)
    await programs.open(programs.older)

    with pytest.raises(RomancyError):
        await programs.open(broken)
    if backend in ("sqlite", "postgres") or additive:
        await programs.open(programs.older)
    else:
        with pytest.raises(SchemaVersionError, match="to_come"):
            await programs.open(programs.older)

    await programs.open(adding(_INDEX[backend] + _TABLE[backend], additive=additive))
    assert () == (await programs.plan(adding(_INDEX[backend] + _TABLE[backend], additive=additive))).steps


@pytest.mark.backends("mysql", "mariadb")
async def test_a_step_that_no_record_follows_stops_older_programs_too(programs: Programs, backend: str) -> None:
    """The process died between the first step and its record: only the beginning is there."""
    newer = adding(_INDEX[backend], additive=False)
    await programs.open(newer)
    await run_script(programs.url, "delete from romancy_schema where step > 0 and version = (select * from "
                     "(select max(version) from romancy_schema) newest)")  # fmt: skip

    with pytest.raises(SchemaVersionError, match="to_come"):
        await programs.open(programs.older)
    assert 1 == len((await programs.plan(newer)).steps)
    await programs.open(newer)
    assert () == (await programs.plan(newer)).steps


async def test_two_branches_do_not_share_a_database(programs: Programs, backend: str) -> None:
    """They gave one number to two migrations, or one of them lacks a migration that the other has."""
    here = adding(_INDEX[backend], additive=True, name="of_one_branch")
    there = adding(_TABLE[backend], additive=True, name="of_another")
    later = adding(_TABLE[backend], additive=True, name="later")

    def skipping(known: list[Migration]) -> list[Migration]:
        return [*known, later(here(known))[-1]]

    await programs.open(here)

    for program in (there, skipping):
        with pytest.raises(SchemaVersionError, match=r"another branch .*of_one_branch"):
            await programs.open(program)
        with pytest.raises(SchemaVersionError, match="another branch"):
            await programs.plan(program)
    await programs.open(programs.older)


@pytest.mark.parametrize(
    "processes", [1, pytest.param(10, marks=pytest.mark.long)], ids=["one process", "ten processes at once"]
)
async def test_the_next_version_brings_the_rows_of_an_older_one_up_to_date_once(
    programs: Programs, backend: str, processes: int
) -> None:
    """Its migration changes rows, so it is not additive. No process writes a row before it is whole."""
    newer = partial(next_version.next_version, backend)
    async with programs.app(programs.older) as older:
        for name in ("paid", "open"):
            await older.start(order_on_a_newer_schema.options(instance_id=name), "lamp")
        assert "lamp for 1" == await pays(older, "paid", 1)

    written = await open_together(programs.url, processes, program=next_version.__name__)

    tallies = await fetch_rows(programs.url, "select workflow_name, instances from romancy_tallies")
    assert [("order_on_a_newer_schema", 2)] == [(text_of(name), number) for name, number in tallies]
    shades = await fetch_rows(programs.url, "select instance_id, shade from romancy_instances")
    assert {"paid": "blue", "open": "blue"} | dict.fromkeys(written, "red") == {
        text_of(name): text_of(shade) for name, shade in shades
    }
    with pytest.raises(SchemaVersionError, match="tallies"):
        await programs.open(programs.older)
    async with programs.app(newer, migrate=False) as app:
        assert "lamp for 1" == await app.handle("paid").result()
        assert "lamp for 2" == await pays(app, "open", 2)


_OF_THE_LAST_COMMIT = {
    "sqlite": (
        "create table romancy_schema (id integer primary key, migration_set text, name text, applied_at text, "
        "additive integer not null default 0); insert into romancy_schema (migration_set, name) "
        "values ('romancy', '0001_start'), ('romancy', '0002_sets_by_workflow'), ('romancy', '0007_children')"
    ),
    "postgres": (
        "create table romancy_schema (version integer primary key, name text not null default '', "
        "applied_at bigint not null default 0, additive boolean not null default false); "
        "insert into romancy_schema (version, name) "
        "values (1, '0001_start'), (2, '0002_sets_by_workflow'), (7, '0007_children')"
    ),
    "mysql": (
        "create table romancy_schema (version int not null, step int not null, at bigint not null default 0, "
        "name varbinary(255) not null default '', additive tinyint not null default 0, primary key (version, step)); "
        "insert into romancy_schema (version, step, name) "
        "values (1, 0, '0001_start'), (1, 1, ''), (7, 0, '0007_children'), (7, 1, '')"
    ),
}
_BEFORE_THE_COLUMN = {
    "sqlite": "alter table romancy_schema drop column additive",
    "postgres": "alter table romancy_schema drop column additive",
    "mysql": (
        "delete from romancy_schema where step = 0; alter table romancy_schema drop column additive, drop column name"
    ),
}
_FORMER = {
    "the last commit": ("", r"version 7 \('0007_children'\) and begins with '0001_start'"),
    "one before the record told what is additive": (
        "; {before}", r"version 7( \('0007_children'\))? and begins with ('0001_start'|a migration without a name)",
    ),
    "the first one": ("; delete from romancy_schema where {later}", "version 1 .*begins with '0001_start'"),
}  # fmt: skip


@pytest.mark.parametrize("of", _FORMER)
async def test_a_database_of_a_commit_before_the_first_release_is_refused_by_name(
    programs: Programs, backend: str, of: str
) -> None:
    """Its tables have other keys, and no migration leads from them to those of today. Nothing is written there."""
    dialect = "mysql" if backend == "mariadb" else backend
    later = "id > 1" if backend == "sqlite" else "version > 1"
    then, found = _FORMER[of]
    script = _OF_THE_LAST_COMMIT[dialect] + then.format(before=_BEFORE_THE_COLUMN[dialect], later=later)
    await run_script(programs.url, script)
    before = await fetch_rows(programs.url, "select * from romancy_schema")

    said = f"(?s){found}.*begins with '0001_first'.* make a new database"
    for migrate in (True, False):
        with pytest.raises(SchemaVersionError, match=said):
            await programs.open(programs.older, migrate=migrate)
    for refused in (programs.plan(programs.older), programs.plan(programs.newer), programs.open(programs.newer)):
        with pytest.raises(SchemaVersionError, match=said):
            await refused
    with pytest.raises(SchemaVersionError, match=said):
        async with programs.app(programs.older):
            pass
    assert before == await fetch_rows(programs.url, "select * from romancy_schema")
    with pytest.raises(Exception, match=r"(?i)romancy_instances"):
        await fetch_rows(programs.url, "select * from romancy_instances")


async def test_another_prefix_leaves_it_alone(programs: Programs, backend: str) -> None:
    dialect = "mysql" if backend == "mariadb" else backend
    await run_script(programs.url, _OF_THE_LAST_COMMIT[dialect])
    beside = Programs(f"{programs.url}{'&' if '?' in programs.url else '?'}prefix=new_", same, same)

    await beside.open(beside.older)

    assert () == (await beside.plan(beside.older)).steps


def text_of(value: object) -> object:
    """Return what a driver gives as bytes, as text."""
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mysql"])
def test_each_migration_says_whether_older_code_may_continue_and_why(kind: str) -> None:
    folder = resources.files(package_of(kind)) / "migrations"
    for file in folder.iterdir():
        if file.name.endswith(".sql"):
            said = re.findall(r"^-- (?:not )?additive: \S.*\.$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert 1 == len(said), f"{kind}: {file.name} needs one line `-- additive: why.` or `-- not additive: why.`"
