"""`manage.py romancy_worker`: a worker for the workflows of this project, until it is told to stop."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from romancy.errors import RomancyError
from romancy.ext.django._process import made
from romancy.ext.django._settings import chosen

__all__ = ["Command"]


class Command(BaseCommand):
    """Works in the main thread, where signals arrive."""

    help = "Runs this project's workflows until SIGTERM or Ctrl-C, then lets activities end and gives the rest back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--drain", type=float, default=30.0, metavar="SECONDS", help="How long activities have to end (30)."
        )

    def handle(self, *args: Any, drain: float = 30.0, **options: Any) -> None:  # noqa: ARG002 - as Django calls it
        try:
            asyncio.run(self._work(drain))
        except RomancyError as error:
            raise CommandError(str(error)) from None

    async def _work(self, drain: float) -> None:
        async with made(chosen(), worker=True) as app:
            names = sorted(app.workflows)
            if not names:
                raise CommandError(
                    "this project has no workflow: declare one with @workflow in the module `workflows` of an "
                    "installed app, or name it in ROMANCY['WORKFLOWS']"
                )
            self.stdout.write(f"worker runs {', '.join(names)}")
            self.stdout.flush()
            await app.serve(drain_timeout=drain)
        self.stdout.write("worker has stopped")
