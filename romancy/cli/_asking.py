"""Asks for a confirmation before an action on many instances."""

from __future__ import annotations

import sys

import click

__all__ = ["confirm"]


def confirm(question: str) -> None:
    """Return if the answer is yes. Raises click.ClickException if it is no, or without a terminal."""
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise click.ClickException("nothing was done: there was no answer; --yes answers for you") from None
    if not agreed:
        raise click.ClickException("nothing was done")
