"""`fork` and `rewind`: go on from a point of the log of an instance, as another one or as the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from romancy.cli._database import database, operating, running
from romancy.cli._inputs import arguments_of
from romancy.cli._printing import as_json, json_option, line, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy._operating import Operator
    from romancy.going_back import ForkChildren, ForkPlan, ForkStep, RewindUndo

__all__ = ["fork", "rewind"]

_children = click.option(
    "--children", type=click.Choice(["keep", "again"]), default="keep", show_default=True,
    help="Of children that were open there: keep their ends, or start new ones.",
)  # fmt: skip


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@click.option("--before", metavar="STEP", help="The step before which the copy ends, as in charge:2.")
@click.option("--at", type=int, metavar="COMMIT", help="Instead: the last commit of the log that is copied.")
@click.option("--input", "given", metavar="JSON", help="New arguments, as for `start`.")
@click.option("--id", "fork_id", metavar="ID", help="The id of the fork. The same call again is the same fork.")
@_children
@click.option("--dry-run", is_flag=True, help="Only show what it keeps, does again and leaves out.")
@json_option
@running
async def fork(
    *,
    url: str | None,
    app: str | None,
    instance_id: str,
    before: str | None,
    at: int | None,
    given: str | None,
    fork_id: str | None,
    children: ForkChildren,
    dry_run: bool,
    json_lines: bool,
) -> None:
    """Begin another instance from a point of this one. Needs --app. This one stays as it is."""
    _check_point(before, at)
    async with operating(url, app, code=True) as operator:
        if dry_run:
            plan = await operator.plan_fork(instance_id, before=before, at=at, children=children)
            as_json(msgspec.to_builtins(plan)) if json_lines else _print(plan, "forked")
            return
        input = None if given is None else await _arguments(operator, instance_id, given)
        made = await operator.fork(instance_id, before=before, at=at, input=input, id=fork_id, children=children)
        as_json({"instance_id": made}) if json_lines else line(made)


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@click.option("--before", metavar="STEP", help="The step before which it goes on, as in charge:2.")
@click.option("--at", type=int, metavar="COMMIT", help="Instead: the last commit of the log that it keeps.")
@click.option(
    "--undo", type=click.Choice(["refuse", "keep", "compensate"]), default="refuse", show_default=True,
    help="If work stands that was done behind that: refuse, and name it; keep it and go on; or undo it first.",
)  # fmt: skip
@_children
@click.option("--dry-run", is_flag=True, help="Only show what it keeps, does again and cuts off.")
@json_option
@running
async def rewind(
    *,
    url: str | None,
    app: str | None,
    instance_id: str,
    before: str | None,
    at: int | None,
    undo: RewindUndo,
    children: ForkChildren,
    dry_run: bool,
    json_lines: bool,
) -> None:
    """Take an instance back to a point of its log.

    It goes on from there, and may have ended before. Needs --app.
    """
    _check_point(before, at)
    async with operating(url, app, code=True) as operator:
        if dry_run:
            plan = await operator.plan_rewind(instance_id, before=before, at=at, undo=undo, children=children)
            as_json(msgspec.to_builtins(plan)) if json_lines else _print(plan, "rewound")
            return
        await operator.rewind(instance_id, before=before, at=at, undo=undo, children=children)
        as_json({"instance_id": instance_id, "rewound": True}) if json_lines else line(f"{instance_id} {_done(undo)}")


def _done(undo: RewindUndo) -> str:
    return "rewound" if undo != "compensate" else "rewound: it goes on once what was to be undone is undone"


def _check_point(before: str | None, at: int | None) -> None:
    if (before is None) == (at is None):
        raise click.UsageError("name one point: --before STEP or --at COMMIT")


async def _arguments(operator: Operator, instance_id: str, given: str) -> dict[str, Any] | None:
    """The new arguments by their names. None if the app does not know the workflow, which the fork says."""
    found = await operator.get_instance(instance_id)
    known = None if operator.registry is None or found is None else operator.registry.workflows.get(found.workflow_name)
    return None if known is None else known.signature.by_name(*arguments_of(known, given))


def _print(plan: ForkPlan, verb: str) -> None:
    line(f"{plan.instance_id}  {plan.workflow}  up to commit {plan.commit}")
    _several("kept", plan.kept)
    _several("done again", plan.again)
    _several("left out", plan.cut_off)
    _several("undone", plan.undone)
    _several("stands", plan.stands)
    if plan.refused is not None:
        say(f"it cannot be {verb} there: {plan.refused}")


def _several(what: str, steps: Iterable[ForkStep]) -> None:
    for step in steps:
        line(f"  {what:10}  {step.id}  {step.name}  {step.outcome}")
