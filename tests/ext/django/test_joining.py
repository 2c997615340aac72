"""Starts and signals in Django's transactions: `atomic()`, nested ones, savepoints, and other objects."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection, connections, transaction

from romancy import InstanceConflictError, Romancy, UsageError, ZlibCodec
from romancy.sync import SyncRomancy
from romancy_conformance.servers import Kind
from romancy_mysql import _posted
from romancy_postgres import _uncommitted
from tests.ext.django.project import project, settings_of
from tests.sessions.libraries import CREATE, INSERT, NAMES
from tests.sessions.workflows import PAID, greet, wait_for_payment

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

pytestmark = pytest.mark.backends("sqlite", *Kind)


@pytest.fixture
def app(storage_url: str) -> Iterator[SyncRomancy]:
    with (
        SyncRomancy(storage_url, workflows=[greet, wait_for_payment], codecs=[ZlibCodec()]) as app,
        project(settings_of(storage_url)),
    ):
        execute(CREATE)
        yield app


def execute(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def undone() -> Generator[None]:
    """An `atomic()` block that an exception leaves."""
    with suppress(ZeroDivisionError), transaction.atomic():
        yield
        raise ZeroDivisionError


def test_a_commit_keeps_what_was_started_and_sent(app: SyncRomancy) -> None:
    waiting = app.start(wait_for_payment)
    with transaction.atomic():
        execute(INSERT.format("ann"))
        handle = app.start(greet, "ann", session=connection)
        many = app.start_many([greet.bind("b"), greet.bind("c")], session=connections["default"])
        waiting.signal(PAID, 7, session=connection)
        app.publish("greeted", "ann", session=connection)
        assert app.get_instance(handle.instance_id) is None
    assert handle.result(60) == "hello ann"
    assert [one.result(60) for one in many] == ["hello b", "hello c"]
    assert waiting.result(60) == 7
    assert execute(NAMES) == [("ann",)]


def test_a_rollback_leaves_nothing(app: SyncRomancy) -> None:
    with undone():
        execute(INSERT.format("ann"))
        app.start(greet.options(instance_id="ann"), "ann", session=connection)
    with transaction.atomic():
        app.start(greet.options(instance_id="bob"), "bob", session=connection)
        transaction.set_rollback(True)
    assert app.list_instances().instances == []
    assert execute(NAMES) == []


def test_nested_blocks_and_savepoints_keep_what_they_commit(app: SyncRomancy) -> None:
    with transaction.atomic():
        with transaction.atomic():
            kept = app.start(greet, "ann", session=connection)
        with undone():
            dropped = app.start(greet, "bob", session=connection)
        with transaction.atomic(savepoint=False):
            app.start(greet.options(instance_id="cid"), "cid", session=connection)
        mark = connection.savepoint()
        assert mark is not None
        app.start(greet.options(instance_id="dan"), "dan", session=connection)
        connection.savepoint_rollback(mark)
        last = app.start(greet, "eve", session=connection)
    assert kept.result(60) == "hello ann"
    assert app.handle("cid", greet).result(60) == "hello cid"
    assert last.result(60) == "hello eve"
    assert app.get_instance(dropped.instance_id) is None
    assert app.get_instance("dan") is None


def test_a_refusal_leaves_the_block_as_it_was(app: SyncRomancy) -> None:
    named = greet.options(instance_id="ann")
    assert app.run(named, "ann") == "hello ann"
    with transaction.atomic():
        execute(INSERT.format("ann"))
        with pytest.raises(InstanceConflictError):
            app.start(named, "another", session=connection)
        replaced = app.start(named, "new", session=connection, if_exists="restart_ended")
    assert replaced.result(60) == "hello new"
    assert execute(NAMES) == [("ann",)]


def test_what_is_no_transaction_is_refused_by_name(app: SyncRomancy) -> None:
    for session in (connection, connections["default"]):
        with pytest.raises(UsageError, match=r"transaction\.atomic\(\)"):
            app.start(greet, "ann", session=session)
    with pytest.raises(UsageError, match=r"takes django\.db\.connection"):
        app.start(greet, "ann", session=connections)
    execute(INSERT.format("ann"))
    with transaction.atomic():
        with pytest.raises(DatabaseError), transaction.atomic(savepoint=False):
            execute(INSERT.format("ann"))
        with pytest.raises(UsageError, match="something has failed"):
            app.start(greet, "ann", session=connection)
    with transaction.atomic():
        connection.close()
        with pytest.raises(UsageError, match="something has failed"):
            app.start(greet, "ann", session=connection)
    assert app.list_instances().instances == []


def test_a_start_joins_a_transaction_managed_by_hand(app: SyncRomancy) -> None:
    transaction.set_autocommit(False)
    handle = app.start(greet, "ann", session=connection)
    transaction.commit()
    assert handle.result(60) == "hello ann"
    dropped = app.start(greet, "bob", session=connection)
    transaction.rollback()
    transaction.set_autocommit(True)
    assert app.get_instance(dropped.instance_id) is None


@pytest.mark.backends(*Kind)  # changes of a SQLite file are looked for
def test_the_end_of_the_block_starts_the_instance_at_once(app: SyncRomancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """With pauses of an hour, nothing but `on_commit` ends the watch."""
    for module in (_uncommitted, _posted):
        monkeypatch.setattr(module, "_FIRST_PAUSE", 3600.0)
        monkeypatch.setattr(module, "_LONGEST_PAUSE", 3600.0)
    with transaction.atomic():
        with undone():
            app.start(greet, "ann", session=connection)
        handle = app.start(greet, "bob", session=connection)
        app.start(greet, "cid", session=connection)
        assert len(connection.run_on_commit) == 1
    assert handle.result(60) == "hello bob"


@pytest.mark.dealt("sqlite")
def test_code_with_await_is_refused(app: SyncRomancy, storage_url: str) -> None:
    async def begin() -> None:
        async with Romancy(storage_url, workflows=[greet], worker=False) as other:
            with pytest.raises(UsageError, match="sync_to_async"):
                await other.start(greet, "ann", session=connection)

    asyncio.run(begin())
