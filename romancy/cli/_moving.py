"""`export` and `import`: instances as a file, between databases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from romancy.cli._database import database, operating, running
from romancy.cli._filter_options import filters_to_act
from romancy.cli._printing import as_json, json_option, say
from romancy.errors import UsageError
from romancy.insight import many
from romancy.retention import BY_DEFAULT

if TYPE_CHECKING:
    from romancy._operating import Operator
    from romancy.moving.importing import Imported
    from romancy.query import InstanceFilter
    from romancy.registry import Registry

_GOES: Final = (
    f"Of those that have ended, workers remove what ended longer ago than {BY_DEFAULT.completed} (completed) or "
    f"{BY_DEFAULT.failed}, unless retention= of the app says otherwise. `romancy retention --off` lets them stay."
)

__all__ = ["MOVING", "print_imported", "registry_of"]


@click.command(name="export")
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@filters_to_act
@database
@click.option("--dry-run", is_flag=True, help="Only look whether they can be exported.")
@json_option
@running
async def export_instances(
    *, path: Path, chosen: InstanceFilter, url: str | None, app: str | None, dry_run: bool, json_lines: bool
) -> None:
    """Write instances to a new FILE: all, or those that are chosen.

    Stop the workers first, or pause what is open: an instance that a worker runs, or could begin to run, is refused.
    The database is only read.
    """
    async with operating(url, app) as operator:
        found = await operator.export_instances(path, chosen, dry_run=dry_run)
    if json_lines:
        as_json(msgspec.to_builtins(found))
        return
    begins = "would be exported" if dry_run else "exported"
    left = f"; {many(found.left_out, 'schedule')} or the like left out" if found.left_out else ""
    say(f"{many(found.instances, 'instance')} {begins}, {found.open} of them open{left}")


@click.command(name="import")
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@database
@click.option("--dry-run", is_flag=True, help="Only read the file, and look whether it can be imported.")
@json_option
@running
async def import_instances(*, path: Path, url: str | None, app: str | None, dry_run: bool, json_lines: bool) -> None:
    """Bring the instances of an exported FILE into this database. Needs --app.

    All are looked at before the first is written. Those that are there are skipped: after a crash, run it again.
    """
    async with operating(url, app, code=True) as operator:
        registry_of(operator)
        found = await operator.import_instances(path, dry_run=dry_run)
        goes = await operator.retention_by_default()
    print_imported(found, dry_run=dry_run, json_lines=json_lines)
    if goes and found.instances > found.open and not json_lines:
        say(_GOES)


def registry_of(operator: Operator) -> Registry:
    """The code that the command was given. UsageError without it."""
    registry = operator.registry
    if registry is None:
        raise UsageError("this needs the code of the workflows: give --app MODULE:APP")
    return registry


def print_imported(found: Imported, *, dry_run: bool, json_lines: bool) -> None:
    """What an import has brought."""
    if json_lines:
        as_json(msgspec.to_builtins(found))
        return
    done = "would be brought in" if dry_run else "brought in"
    say(f"{many(found.instances, 'instance')} {done}, {found.open} of them open; {found.skipped} were there already")


MOVING = (export_instances, import_instances)
