"""A project of Django's within the test process, whose database is another one in each test."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import django
import pymysql
from django.conf import settings
from django.db import connections

from tests.sessions.libraries import kind_of, sqlalchemy_url

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["project", "settings_of"]

_ENGINES = {"sqlite": "sqlite3", "postgresql": "postgresql", "mysql": "mysql"}


def _be_mysqldb() -> None:
    """Let Django find PyMySQL. What that puts in the place of PyMySQL's own modules is put back for other tests."""
    pymysql.install_as_MySQLdb()
    kept = dict(pymysql.__dict__)
    for name in ("constants", "converters", "err"):
        importlib.import_module(f"MySQLdb.{name}")
    pymysql.__dict__.update(kept)


if not settings.configured:
    _be_mysqldb()
    settings.configure(
        SECRET_KEY="a test",
        USE_TZ=True,
        ROOT_URLCONF="tests.ext.django.urls",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ""}},
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "romancy.ext.django",
        ],
        MIGRATION_MODULES={"admin": None, "auth": None, "contenttypes": None, "sessions": None},
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
    )
    django.setup()


def settings_of(url: str) -> dict[str, Any]:
    """The database of this URL of Romancy's, as `DATABASES` has it."""
    where = sqlalchemy_url(url, "x")
    engine = f"django.db.backends.{_ENGINES[kind_of(url)]}"
    if kind_of(url) == "sqlite":
        return {"ENGINE": engine, "NAME": where.database}
    host = where.query.get("unix_socket") or where.host
    return {
        "ENGINE": engine,
        "NAME": where.database,
        "USER": where.username,
        "PASSWORD": where.password,
        "HOST": host,
        "PORT": where.port or "",
    }


@contextmanager
def project(database: dict[str, Any]) -> Generator[None]:
    """The project on this database, with no connection open before or after."""
    known: dict[str, Any] = connections.settings
    before = known["default"]
    known.update(connections.configure_settings({"default": database}))
    connections["default"].close()
    del connections["default"]
    try:
        yield
    finally:
        connections["default"].close()
        del connections["default"]
        known["default"] = before
