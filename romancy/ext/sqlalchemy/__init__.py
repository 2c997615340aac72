"""SQLAlchemy: its sessions and connections as `session=`, and its sessions inside activities.

`session()` gives an activity an `AsyncSession`, or a `Session` in a plain function, on the transaction that also
commits the activity's completion.
"""

from __future__ import annotations

try:
    import sqlalchemy as _sqlalchemy
except ImportError as error:
    raise ImportError(f"{error}; install the extra: pip install 'romancy[sqlalchemy]'", name=error.name) from error

from romancy.ext.sqlalchemy._joining import join
from romancy.ext.sqlalchemy._opening import Opening, session

__all__ = ["Opening", "join", "session"]

del _sqlalchemy
