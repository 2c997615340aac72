"""`manage.py romancy_sql`: the SQL of the tables that are missing, for a DBA to run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from romancy.errors import RomancyError
from romancy.ext.django._settings import chosen
from romancy.storage.backends import create_store

if TYPE_CHECKING:
    from romancy.storage.upkeep import Plan

__all__ = ["Command"]


class Command(BaseCommand):
    """Prints, and writes nothing."""

    help = (
        "Prints the SQL that brings Romancy's tables in this project's database up to date. Nothing is written. "
        "Without it, the first app that is opened does the same."
    )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 - as Django calls it
        try:
            plan = asyncio.run(_plan(chosen().url))
        except RomancyError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(plan.sql, ending="")
        if not plan.steps:
            self.stderr.write("nothing to do: the schema is up to date")


async def _plan(url: str) -> Plan:
    return await create_store(url).services.upkeep.plan()
