"""`archive show`: what an archive of removed instances has of an id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from romancy._microseconds import moment_of
from romancy.cli._printing import as_json, json_option, line
from romancy.errors import InstanceNotFoundError
from romancy.log import commit_of
from romancy.retaining.archive import archived_as
from romancy.serialization import is_sealed

if TYPE_CHECKING:
    from romancy.retaining.archive import ArchivedInstance

__all__ = ["archive"]


class NotArchivedError(InstanceNotFoundError):
    """The archive has nothing under this id. It is no database: the advice to list one does not fit."""


@click.group()
def archive() -> None:
    """Look into the folder that Retention(archive=…) writes."""


@archive.command()
@click.argument("instance_id", metavar="ID")
@click.option(
    "--from", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, metavar="FOLDER",
    help="The folder of the archive.",
)  # fmt: skip
@json_option
def show(instance_id: str, folder: Path, *, json_lines: bool) -> None:
    """Show what was removed under an id, each life of it with its log."""
    found = archived_as(folder, instance_id)
    if not found:
        raise NotArchivedError(f"the archive {folder} has no instance {instance_id!r}")
    for one in found:
        if json_lines:
            as_json(msgspec.to_builtins(one))
        else:
            _print(one)


def _print(one: ArchivedInstance) -> None:
    line(f"{one.instance_id}  {one.workflow}  {one.status}  {moment_of(one.created_at)} to {moment_of(one.updated_at)}")
    if one.error is not None:
        line(f"  {one.error}")
    for commit in one.log:
        line(f"  {commit.seq}  {moment_of(commit.at)}  {_events_of(one.instance_id, commit.seq, commit.body)}")


def _events_of(instance_id: str, seq: int, body: bytes) -> str:
    if is_sealed(body, "commit"):
        return "(sealed)"
    return ", ".join(type(event).__name__ for event in commit_of(instance_id, seq, body))
