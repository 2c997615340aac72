"""What the database says of retention, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from romancy.sync._moving import SyncMoving

__all__ = ["SyncRetainedByDefault"]


class SyncRetainedByDefault(SyncMoving):
    """Reads and changes what the database says of retention."""

    def retention_by_default(self) -> bool:
        """Whether ended instances of apps without `retention=` go in this database, as they do in new ones."""
        result: bool = self._call("retention_by_default")
        return result

    def set_retention_by_default(self, *, on: bool) -> None:
        """Let ended instances of apps without `retention=` go in this database, or stay for ever.

        Every worker looks before it removes anything, and needs no restart.
        """
        self._call("set_retention_by_default", on=on)
