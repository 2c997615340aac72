"""`retention`: whether ended instances go although their app does not say how long they stay."""

from __future__ import annotations

import click

from romancy.cli._database import database, operating, running
from romancy.cli._printing import as_json, json_option, line
from romancy.retention import BY_DEFAULT

__all__ = ["retention"]

_PERIODS = {"completed": BY_DEFAULT.completed, "failed": BY_DEFAULT.failed, "cancelled": BY_DEFAULT.cancelled}
_STAYS = "ended instances stay, unless retention= says otherwise"


@click.command()
@database
@click.option("--on/--off", "on", default=None, help="Let them go from now on, or stay for ever.")
@json_option
@running
async def retention(*, url: str | None, app: str | None, on: bool | None, json_lines: bool) -> None:
    """Say whether ended instances go by default, or change it.

    The default is that of apps and workflows that give no retention=. It holds in new databases.
    """
    async with operating(url, app) as operator:
        if on is not None:
            await operator.set_retention_by_default(on=on)
        goes = await operator.retention_by_default()
    if json_lines:
        as_json({"by_default": goes, **_PERIODS})
        return
    periods = ", ".join(f"{status} after {period}" for status, period in _PERIODS.items())
    line(f"ended instances go by default: {periods}" if goes else _STAYS)
