"""`archive`: what an archive of removed instances has of an id, and how it is brought back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from romancy._microseconds import moment_of
from romancy.cli._database import database, operating, running
from romancy.cli._moving import print_imported, registry_of
from romancy.cli._printing import as_json, json_option, line
from romancy.log import commit_of
from romancy.retaining.archive import archived_as
from romancy.retaining.places import place_of
from romancy.retaining.restoring import NotArchivedError
from romancy.retaining.restoring import restore as restored
from romancy.serialization import is_sealed

if TYPE_CHECKING:
    from romancy.moving.format import KeptInstance
    from romancy.retaining.places import Place

__all__ = ["archive"]


def _place(context: click.Context, parameter: click.Parameter, name: str) -> Place:
    """The place with this name."""
    if "://" not in name and not Path(name).is_dir():
        raise click.BadParameter(f"there is no folder {name!r}", context, parameter)
    return place_of(name)


_FROM = click.option(
    "--from", "place", required=True, metavar="PLACE", callback=_place, help="The folder of the archive, or its URL."
)


@click.group()
def archive() -> None:
    """Look into an archive of retention, and bring instances back."""


@archive.command()
@click.argument("instance_id", metavar="ID")
@_FROM
@json_option
def show(instance_id: str, place: Place, *, json_lines: bool) -> None:
    """Show what was removed under an id, each life of it with its log."""
    found = archived_as(place, instance_id)
    if not found:
        raise NotArchivedError(f"the archive {place} has no instance {instance_id!r}")
    for one in found:
        if json_lines:
            as_json(msgspec.to_builtins(one))
        else:
            _print(one)


@archive.command()
@click.argument("instance_ids", metavar="ID...", nargs=-1, required=True)
@_FROM
@database
@click.option("--dry-run", is_flag=True, help="Only look whether they can be brought back.")
@json_option
@running
async def restore(
    *, instance_ids: tuple[str, ...], place: Place, url: str | None, app: str | None, dry_run: bool, json_lines: bool
) -> None:
    """Bring removed instances back, each as it was last. Needs --app.

    They are kept for their whole time again. One that is there already is skipped.
    """
    async with operating(url, app, code=True) as operator:
        found = await restored(operator.store, registry_of(operator), place, instance_ids, dry_run=dry_run)
    print_imported(found, dry_run=dry_run, json_lines=json_lines)


def _print(one: KeptInstance) -> None:
    line(f"{one.instance_id}  {one.workflow}  {one.status}  {moment_of(one.created_at)} to {moment_of(one.updated_at)}")
    if one.error is not None:
        line(f"  {one.error}")
    for commit in one.log:
        line(f"  {commit.seq}  {moment_of(commit.at)}  {_events_of(one.instance_id, commit.seq, commit.body)}")


def _events_of(instance_id: str, seq: int, body: bytes) -> str:
    if is_sealed(body, "commit"):
        return "(sealed)"
    return ", ".join(type(event).__name__ for event in commit_of(instance_id, seq, body))
