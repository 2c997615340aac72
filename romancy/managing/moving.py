"""Takes instances out of a database as a file, and brings those of a file into another one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from romancy.errors import UsageError
from romancy.managing.going_back import GoingBack
from romancy.moving.exporting import export
from romancy.moving.importing import bring_in
from romancy.moving.reading import whole_parcels
from romancy.query import InstanceFilter

if TYPE_CHECKING:
    from romancy.moving.exporting import Exported
    from romancy.moving.importing import Imported
    from romancy.query import FiltersToAct

__all__ = ["Moving"]


class Moving(GoingBack):
    """Moves instances between databases."""

    async def export_instances(
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
        store = self._access.opened("export_instances")
        return await export(store, _path(path), InstanceFilter.of(chosen, filters), dry_run=dry_run)

    async def import_instances(self, path: str | Path, *, dry_run: bool = False) -> Imported:
        """Bring the instances of an exported file into this database, where they go on.

        All are looked at before the first is written. An instance that is there with the same log is skipped, so the
        same call goes on after a crash. Raises InstanceConflictError if an id has another instance or another log,
        UsageError if the app lacks a workflow or a live worker would run one before all are there, and
        HistoryCorruptError or HistoryVersionError if the file is damaged, not whole, or of a newer Romancy.
        """
        store = self._access.to_write("import_instances")
        registry = self._access.registry
        if registry is None:
            raise UsageError("an import needs the code of the workflows, which this app does not have")
        imported = await bring_in(store, registry, partial(whole_parcels, _path(path)), dry_run=dry_run)
        self._access.stir()
        return imported


def _path(given: object) -> Path:
    if not isinstance(given, str | Path) or not str(given):
        raise UsageError(f"an export is the path of a file, not {given!r}")
    return Path(given)
