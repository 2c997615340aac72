"""Moving instances between databases, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.sync._going_back import SyncGoingBack

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    from romancy.moving.exporting import Exported
    from romancy.moving.importing import Imported
    from romancy.query import FiltersToAct, InstanceFilter


__all__ = ["SyncMoving"]


class SyncMoving(SyncGoingBack):
    """Moves instances between databases."""

    def export_instances(
        self,
        path: str | Path,
        chosen: InstanceFilter | None = None,
        /,
        *,
        dry_run: bool = False,
        **filters: Unpack[FiltersToAct],
    ) -> Exported:
        """Write instances to a new file: all of them, or those that a filter finds. The database is only read.

        The file has their logs, mail, streams and kept log lines, as they are stored: what codecs have sealed stays
        sealed. Of the open ones, only those that rest are exported. Raises UsageError, and leaves no file, if a worker
        runs one or could begin to (a paused one can be exported beside workers), if a message of one in the outbox was
        not sent, or if an open child or parent of one was not chosen. Schedules and windows are left out.
        """
        result: Exported = self._call("export_instances", path, chosen, dry_run=dry_run, **filters)
        return result

    def import_instances(self, path: str | Path, *, dry_run: bool = False) -> Imported:
        """Bring the instances of an exported file into this database, where they go on.

        All are looked at before the first is written. An instance that is there with the same log is skipped, so the
        same call goes on after a crash. Raises InstanceConflictError if an id has another instance or another log,
        UsageError if the app lacks a workflow or a live worker would run one before all are there, and
        HistoryCorruptError or HistoryVersionError if the file is damaged, not whole, or of a newer Romancy.
        """
        result: Imported = self._call("import_instances", path, dry_run=dry_run)
        return result
