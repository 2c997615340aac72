"""The driver module: the sqlite3 that sqlite-utils found, so that its errors are the ones caught here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sqlite_utils import Database

__all__ = ["Database", "sqlite3"]

if TYPE_CHECKING:
    import sqlite3
else:
    sqlite3 = sys.modules["sqlite_utils.utils"].sqlite3
