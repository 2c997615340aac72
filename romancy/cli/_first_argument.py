"""Lets every command that works on a database take it as its first argument, as `ui` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from romancy.storage.url import is_url, names_a_database

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Commands"]

_OF_A_DATABASE = frozenset({"given", "target", "url"})
"""Arguments of commands that take the database there by themselves."""


class Commands(click.Group):
    """The commands. `romancy show sqlite:///app.db ID` is `romancy show --url sqlite:///app.db ID`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that these words name, and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, rest if command is None else _with_options(command, rest)


def _with_options(command: click.Command, args: list[str]) -> list[str]:
    """The arguments, with the option for a database that stands first.

    A command that takes no arguments may also get the app there. The id of an instance may look like an address, or
    like an app; it is taken for a database only if it has a scheme of one.
    """
    if not args or args[0].startswith("-") or _has(args, "--url") or _has(args, "--app"):
        return args
    options = {word for one in command.params if isinstance(one, click.Option) for word in one.opts}
    takes = {one.name for one in command.params if isinstance(one, click.Argument)}
    first, *rest = args
    if "--url" not in options or takes & _OF_A_DATABASE:
        return args
    if names_a_database(first) or (not takes and is_url(first)):
        return ["--url", first, *rest]
    if not takes and "--app" in options and ":" in first:
        return ["--app", first, *rest]
    return args


def _has(args: Sequence[str], option: str) -> bool:
    return any(one == option or one.startswith(f"{option}=") for one in args)
