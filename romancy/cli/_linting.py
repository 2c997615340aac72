"""The command `lint`: calls in workflows whose answers differ from run to run."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from romancy.cli._apps import load_app
from romancy.cli._endings import FAILED
from romancy.cli._printing import as_json, clean, json_option, say
from romancy.insight import many
from romancy.linting import findings_in

if TYPE_CHECKING:
    from romancy.linting import Finding

__all__ = ["lint"]


@click.command()
@click.argument("target", metavar="MODULE:APP")
@json_option
def lint(target: str, json_lines: bool) -> int:  # noqa: FBT001 - click gives it by name
    """List calls in workflows whose answers differ from run to run.

    It reads the source of all bodies, and of the functions that they name in the same package, for the clock, random
    numbers, files and the environment, and says what to use instead. Activities may do all of that and are not read.
    Exit code 1 if there are such calls. It opens no database.
    """
    workflows = load_app(target).workflows
    found = findings_in(workflows.values())
    for finding in found:
        if json_lines:
            as_json(asdict(finding))
        else:
            click.echo(clean(_told(finding)))
    say(f"{many(len(workflows), 'workflow')} read: {many(len(found), 'call')} to replace")
    return FAILED if found else 0


def _told(finding: Finding) -> str:
    path = os.path.relpath(finding.path)
    shown = finding.path if path.startswith("..") else path
    return (
        f"{shown}:{finding.line}:{finding.column}: {finding.what} in {finding.function} "
        f"(workflow {finding.workflow}): use {finding.use}"
    )
