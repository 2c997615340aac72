"""The driver module: whichever sqlite3 sqlite-utils has found, so that its errors are the ones we catch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sqlite_utils import Database

__all__ = ["Database", "sqlite3"]

if TYPE_CHECKING:
    import sqlite3
else:
    sqlite3 = sys.modules["sqlite_utils.utils"].sqlite3
