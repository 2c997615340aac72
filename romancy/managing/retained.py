"""Whether ended instances go although their app does not say how long they stay."""

from __future__ import annotations

from romancy._options import yes_or_no
from romancy.managing.moving import Moving
from romancy.retaining.by_default import goes_by_default, let_go_by_default

__all__ = ["RetainedByDefault"]


class RetainedByDefault(Moving):
    """Reads and changes what the database says of retention."""

    async def retention_by_default(self) -> bool:
        """Whether ended instances of apps without `retention=` go in this database, as they do in new ones."""
        return await goes_by_default(self._access.opened("retention_by_default"))

    async def set_retention_by_default(self, *, on: bool) -> None:
        """Let ended instances of apps without `retention=` go in this database, or stay for ever.

        Every worker looks before it removes anything, and needs no restart.
        """
        goes = yes_or_no(on, "on")
        await let_go_by_default(self._access.to_write("set_retention_by_default"), goes)
