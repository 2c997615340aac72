"""`manage.py romancy …`: Romancy's command line on the database of the settings."""

from __future__ import annotations

import os
from argparse import REMAINDER
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandParser

from romancy.cli import main
from romancy.ext.django._settings import chosen

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["Command", "run"]


class Command(BaseCommand):
    """Hands its arguments on."""

    help = "Romancy's command line on this project's database: `manage.py romancy list`, `manage.py romancy --help`."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs=REMAINDER, help="A command of `romancy`, with its options.")

    def run_from_argv(self, argv: list[str]) -> None:
        """Take the words as they are: Django knows options of its own, among them `--help` and `--version`."""
        run(argv[2:])

    def handle(self, *args: Any, words: Sequence[str] = (), **options: Any) -> None:  # noqa: ARG002 - as Django calls it
        run([*map(str, args), *words])


def run(words: Sequence[str]) -> None:
    """Run a command of `romancy`, and end with its exit code."""
    with _in_environment("ROMANCY_URL", chosen().url):  # not as an option: other users can see arguments
        main(words, name="manage.py romancy", app="romancy.ext.django.worker:app")


@contextmanager
def _in_environment(name: str, value: str) -> Generator[None]:
    """A variable of this process and of those that it starts in this block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
