"""Orders on the web, served by real servers: the process is killed before and after the commits of what it is asked.

A client repeats every request, as after a lost answer: it gets the same answer, and nothing happens twice.
Each framework is tried on a database or two, by which all of SQLite, PostgreSQL and MySQL have their turn.
`tests/sessions/test_crashes.py` kills a process around the commits of each library on every database.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

import pytest
from sqlalchemy import create_engine, text

from tests.examples.web_server import serving
from tests.sessions.libraries import DRIVERS, kind_of, sqlalchemy_url
from tools.tree import ROOT

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.examples.web_server import Server

pytestmark = pytest.mark.long

SQLALCHEMY = """
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session
from examples.{module} import *

@event.listens_for(Engine, "before_cursor_execute")
def meeting(connection, cursor, statement, *others):
    if any(word in statement for word in ("CREATE TABLE", "advisory", "immediate")):
        meet()

event.listen(Session, "before_commit", lambda session: die("before_commit"), insert=True)
event.listen(Session, "after_commit", lambda session: die("after_commit"), insert=True)
"""
MIGRATE = """
import os, pymysql
pymysql.install_as_MySQLdb()
os.environ["DJANGO_SETTINGS_MODULE"] = "examples.django_orders.settings"
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "migrate", "django_orders", "--verbosity=0", "--skip-checks"])
"""
DJANGO = """
import pymysql
pymysql.install_as_MySQLdb()
from django.db.backends.base.base import BaseDatabaseWrapper

commit = BaseDatabaseWrapper._commit

def dying(self):
    die("before_commit")
    commit(self)
    die("after_commit")

BaseDatabaseWrapper._commit = dying
from examples.django_orders.wsgi import application
"""
ALIVE = "select count(*) from romancy_workers where not dead"
UVICORN = ("uvicorn", "killer:api", "--port", "0")
GUNICORN = ("gunicorn", "--threads", "2", "--bind", "127.0.0.1:0")


class Serve(Protocol):
    def __call__(self) -> AbstractContextManager[Server]: ...


def sqlalchemy(folder: Path, url: str, module: str, *command: str) -> Serve:
    where = sqlalchemy_url(url, DRIVERS[kind_of(url)][1 if module == "flask_orders" else 0])
    settings = {"ROMANCY_URL": url, "DATABASE_URL": where.render_as_string(hide_password=False)}

    def serve() -> AbstractContextManager[Server]:
        settings["MEETING"] = "2" if "--workers" in command else "1"
        return serving(folder, SQLALCHEMY.format(module=module), *command, settings=settings)

    return serve


def django(folder: Path, url: str) -> Serve:
    where = sqlalchemy_url(url, "x")
    kind = kind_of(url)
    database = {
        "ENGINE": f"django.db.backends.{'sqlite3' if kind == 'sqlite' else kind}",
        "NAME": where.database,
        "USER": where.username or "",
        "PASSWORD": where.password or "",
        "HOST": where.query.get("unix_socket") or where.host or "",
        "PORT": where.port or "",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20} if kind == "sqlite" else {},
    }
    settings = {"DATABASE": json.dumps(database), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", MIGRATE], cwd=folder, env={**os.environ, **settings}, check=True)

    def serve() -> AbstractContextManager[Server]:
        return serving(folder, DJANGO, *GUNICORN, "killer:application", settings=settings)

    return serve


PLACED = (202, {"id": "a-1"})
SHIPPED = {"orders": ["a-1 lamp"], "shipments": ["a-1"], "workflows": ["a-1 completed"]}
PLACE, PAY = ("PUT", "/orders/a-1?item=lamp"), ("POST", "/orders/a-1/payment")


def rows(url: str, question: str) -> list[str]:
    engine = create_engine(sqlalchemy_url(url, DRIVERS[kind_of(url)][1]))
    try:
        with closing(engine.connect()) as connection:
            found = connection.execute(text(question)).all()
    finally:
        engine.dispose()
    return [" ".join(each.decode() if isinstance(each, bytes) else str(each) for each in row) for row in found]


class Killed:
    """What holds of each framework."""

    orders, shipments = "select id, item from orders", "select order_id from shipments"

    def test_a_server_that_is_killed_before_and_after_each_commit(self, serve: Serve, storage_url: str) -> None:
        """After a commit, it dies before it could wake anybody. Each request is repeated by a later server."""
        with serve() as server:
            assert server.ask("PUT", "/orders/b%3B2?item=lamp")[0] in (404, 422)
            assert server.ask("POST", "/orders/nobody/payment")[0] == 400
            server.killed_by(*PLACE, at="before_commit")
        with serve() as server:
            nothing = {"ordered": False, "status": None, "shipped": False}
            assert server.ask("GET", "/orders/a-1") == (200, nothing)
            server.killed_by(*PLACE, at="after_commit")
        with serve() as server:
            self.repeats_the_order(server)
            server.killed_by(*PLACE, at="before_commit")
        with serve() as server:
            server.until("/orders/a-1", ordered=True, status="waiting", shipped=False)
            assert self.books(storage_url) == {"orders": ["a-1 lamp"], "shipments": [], "workflows": ["a-1 waiting"]}
            server.killed_by(*PAY, at="before_commit")
        with serve() as server:
            server.until("/orders/a-1", ordered=True, status="waiting", shipped=False)
            server.killed_by(*PAY, at="after_commit")
        with serve() as server:
            self.repeats_the_payment(server)
            server.killed_by(*PAY, at="before_commit")
        with serve() as server:
            self.repeats_the_order(server)
            self.repeats_the_payment(server)
            assert self.books(storage_url) == SHIPPED

    def repeats_the_order(self, server: Server) -> None:
        """An order that is there: from a client that repeats it, from several at once, and with another content."""
        assert server.ask(*PLACE) == PLACED
        assert server.ask_at_once(8, *PLACE) == [PLACED] * 8
        status, said = server.ask("PUT", "/orders/a-1?item=book")
        assert (409, True) == (status, "a-1" in str(said))

    def repeats_the_payment(self, server: Server) -> None:
        assert server.ask_at_once(3, *PAY) == [server.ask(*PAY)] * 3
        server.until("/orders/a-1", ordered=True, status="completed", shipped=True)
        assert server.ask(*PAY)[0] == 202

    def books(self, url: str) -> dict[str, list[str]]:
        """Everything that the orders have left in the database."""
        return {
            "orders": rows(url, self.orders),
            "shipments": rows(url, self.shipments),
            "workflows": rows(url, "select instance_id, status from romancy_instances"),
        }


class Several(Killed):
    """What holds of each framework whose processes make the tables."""

    module: str
    command: tuple[str, ...]

    @pytest.fixture
    def serve(self, tmp_path: Path, storage_url: str) -> Serve:
        return sqlalchemy(tmp_path, storage_url, self.module, *self.command)

    @pytest.fixture
    def serve_two(self, tmp_path: Path, storage_url: str) -> Serve:
        return sqlalchemy(tmp_path, storage_url, self.module, *self.command, "--workers", "2")

    def test_two_processes_that_begin_at_once(self, serve_two: Serve, storage_url: str) -> None:
        """Both find no tables, and make them. Requests that come at once are answered by both."""
        with serve_two() as server:
            server.until_it_answers("/orders/a-1")
            while rows(storage_url, ALIVE) != ["2"]:
                assert server.runs()
                time.sleep(0.05)  # the other process opens its app
            assert server.met() == 2, "a process that failed was replaced"
            assert server.ask_at_once(16, *PLACE) == [PLACED] * 16
            assert server.ask("PUT", "/orders/a-1?item=book")[0] == 409
            assert {status for status, _ in server.ask_at_once(16, *PAY)} == {202}
            server.until("/orders/a-1", ordered=True, status="completed", shipped=True)
            assert self.books(storage_url) == SHIPPED


@pytest.mark.backends("postgres")
class TestFastAPI(Several):
    module, command = "web_orders", UVICORN


@pytest.mark.backends("postgres", "mysql")
class TestDjango(Killed):
    orders = "select id, item from django_orders_order"
    shipments = "select order_id from django_orders_shipment"

    @pytest.fixture
    def serve(self, tmp_path: Path, storage_url: str) -> Serve:
        return django(tmp_path, storage_url)


@pytest.mark.backends("sqlite")
class TestFlask(Several):
    module, command = "flask_orders", (*GUNICORN, "killer:create()")


@pytest.mark.backends("sqlite")
class TestLitestar(Several):
    module, command = "litestar_orders", UVICORN
