"""Orders on the web, served by real servers: the process is killed before and after the commits of what it is asked.

Django and FastAPI are tried on several databases, the other frameworks on SQLite.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.examples.web_server import serving
from tests.sessions.libraries import DRIVERS, kind_of, sqlalchemy_url
from tools.tree import ROOT

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.examples.web_server import Server

pytestmark = pytest.mark.long

SQLALCHEMY = """
from sqlalchemy import event
from sqlalchemy.orm import Session
from examples.{module} import *

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
UVICORN = ("uvicorn", "killer:api", "--port", "0")
GUNICORN = ("gunicorn", "--threads", "2", "--bind", "127.0.0.1:0")


class Serve(Protocol):
    def __call__(self) -> AbstractContextManager[Server]: ...


def sqlalchemy(folder: Path, url: str, module: str, *command: str) -> Serve:
    where = sqlalchemy_url(url, DRIVERS[kind_of(url)][1 if module == "flask_orders" else 0])
    settings = {"ROMANCY_URL": url, "DATABASE_URL": where.render_as_string(hide_password=False)}

    def serve() -> AbstractContextManager[Server]:
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


class Killed:
    """What holds of each framework."""

    def test_a_server_that_is_killed_before_and_after_each_commit(self, serve: Serve) -> None:
        """After a commit, it dies before it could wake anybody."""
        with serve() as server:
            assert server.ask("PUT", "/orders/b%3B2?item=lamp")[0] in (404, 422)
            server.killed_by("PUT", "/orders/a-1?item=lamp", at="before_commit")
        with serve() as server:
            nothing = {"ordered": False, "status": None, "shipped": False}
            assert server.ask("GET", "/orders/a-1") == (200, nothing)
            server.killed_by("PUT", "/orders/a-1?item=lamp", at="after_commit")
        with serve() as server:
            server.until("/orders/a-1", ordered=True, status="waiting", shipped=False)
            server.killed_by("POST", "/orders/a-1/payment", at="before_commit")
        with serve() as server:
            server.until("/orders/a-1", ordered=True, status="waiting", shipped=False)
            server.killed_by("POST", "/orders/a-1/payment", at="after_commit")
        with serve() as server:
            server.until("/orders/a-1", ordered=True, status="completed", shipped=True)
            assert server.ask("PUT", "/orders/a-2?item=book") == (202, {"id": "a-2"})
            assert server.ask("POST", "/orders/a-2/payment")[0] == 202
            server.until("/orders/a-2", ordered=True, status="completed", shipped=True)


@pytest.mark.backends("sqlite", "postgres")
class TestFastAPI(Killed):
    @pytest.fixture
    def serve(self, tmp_path: Path, storage_url: str) -> Serve:
        return sqlalchemy(tmp_path, storage_url, "web_orders", *UVICORN)


@pytest.mark.backends("sqlite", "postgres", "mysql")
class TestDjango(Killed):
    @pytest.fixture
    def serve(self, tmp_path: Path, storage_url: str) -> Serve:
        return django(tmp_path, storage_url)


@pytest.mark.backends("sqlite")
class TestFlask(Killed):
    @pytest.fixture
    def serve(self, tmp_path: Path, storage_url: str) -> Serve:
        return sqlalchemy(tmp_path, storage_url, "flask_orders", *GUNICORN, "killer:create()")


@pytest.mark.backends("sqlite")
class TestLitestar(Killed):
    @pytest.fixture
    def serve(self, tmp_path: Path, storage_url: str) -> Serve:
        return sqlalchemy(tmp_path, storage_url, "litestar_orders", *UVICORN)
