"""Refuses `memory://`: each command is a process of its own, and that database is private to one."""

from __future__ import annotations

from typing import Final

import click

__all__ = ["PRIVATE", "is_private", "refuse_private"]

PRIVATE: Final = "memory:// is private to a process"


def is_private(url: str) -> bool:
    """Whether only the process that opens the URL sees what is in it."""
    return url.partition(":")[0] == "memory"


def refuse_private(url: str) -> None:
    """Raise click.UsageError for a database that no other process can reach."""
    if is_private(url):
        raise click.UsageError(
            f"{PRIVATE}: this command would see an empty database of its own. Use a file, sqlite:///app.db; or look "
            "into an app with memory:// by `romancy dev MODULE:APP`, which runs its worker and its dashboard in one "
            "process"
        )
