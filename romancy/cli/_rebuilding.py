"""The command `rebuild`: makes again what a database holds beside its logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from romancy.built_in import with_built_in
from romancy.cli._apps import load_app
from romancy.cli._database import operating, running
from romancy.cli._endings import FAILED
from romancy.cli._printing import as_json, json_option, line, say
from romancy.insight import many
from romancy.rebuilding import PARTS
from romancy.rebuilding import rebuild as rebuilt

if TYPE_CHECKING:
    from romancy.rebuilding import Findings, Part

__all__ = ["rebuild"]

_EACH: Final = 10_000
_MOST_NAMED: Final = 20


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option("--url", envvar="ROMANCY_URL", metavar="URL", help="Another database than the app's.")
@click.option(
    "--what", type=click.Choice(PARTS), multiple=True, help="Only lost rows of instances, or only the search index."
)
@click.option("--dry-run", is_flag=True, help="Only count what is wrong; exit code 1 if anything is.")
@json_option
@running
async def rebuild(
    target: str,
    url: str | None,
    what: tuple[Part, ...],
    dry_run: bool,  # noqa: FBT001 - click gives it by name
    json_lines: bool,  # noqa: FBT001 - click gives it by name
) -> int:
    """Make rows and the search index again from the logs.

    The workflows of the app say which paths are indexed, and its codecs open sealed inputs. Instances that were started
    before a path was declared get it as well. It may run beside workers, be interrupted, and be run again.
    """
    app = load_app(target)
    async with operating(url, app) as operator:
        found = await rebuilt(
            operator.store,
            with_built_in(app.workflows),
            app.codecs,
            parts=what or PARTS,
            dry_run=dry_run,
            progress=_progress,
        )
    _print(found, json_lines=json_lines, dry_run=dry_run)
    return FAILED if found.left or (dry_run and found.rows + found.index) else 0


def _progress(found: Findings) -> None:
    if found.looked_at % _EACH == 0:
        say(f"{found.looked_at} looked at")


def _print(found: Findings, *, json_lines: bool, dry_run: bool) -> None:
    if json_lines:
        as_json(
            {
                "looked_at": found.looked_at,
                "lost_rows": found.rows,
                "wrong_index": found.index,
                "written": found.written,
                "left": [{"instance_id": one.instance_id, "reason": one.reason} for one in found.left],
            }
        )
        return
    for one in found.left[:_MOST_NAMED]:
        line(f"{one.instance_id}  left: {one.reason}")
    if len(found.left) > _MOST_NAMED:
        line(f"… and {len(found.left) - _MOST_NAMED} more")
    say(
        f"{many(found.looked_at, 'instance')} looked at: {many(found.rows, 'lost row')}, {found.index} with a wrong "
        f"index; {'nothing was written' if dry_run else f'{found.written} written'}, {len(found.left)} left"
    )
    if found.delayed:
        say(
            f"{found.delayed} of them had not begun and begin now: a log does not say until when a start was delayed "
            "if an older version wrote it"
        )
