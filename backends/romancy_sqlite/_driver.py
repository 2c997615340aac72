"""The driver module: the sqlite3 that sqlite-utils found, so that its errors are the ones caught here."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from sqlite_utils import Database

from romancy.storage.drivers import check_driver

__all__ = ["Database", "sqlite3"]

if not hasattr(Database, "atomic"):  # it tells no version; this came with 4.0, and to read metadata takes longer
    check_driver("sqlite-utils", version("sqlite-utils"))

if TYPE_CHECKING:
    import sqlite3
else:
    sqlite3 = sys.modules["sqlite_utils.utils"].sqlite3
