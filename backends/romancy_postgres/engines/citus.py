"""Citus: a coordinator that may keep the tables of a schema on another server (0082).

Its coordinator plans anew what it passes on, in parts. The scripts that it needs in other words are in `citus.sql`.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from romancy.errors import StorageConfigurationError
from romancy_postgres.engines.engine import Engine, Errors, Opening, Restated

if TYPE_CHECKING:
    from romancy_postgres.engines.engine import Asked

__all__ = ["ENGINE", "check_coordinator", "check_nodes"]

_INTERNAL: Final = "XX000"
"""The state under which it passes on what a node says of rows that are copied to it."""


async def check_coordinator(asked: Asked) -> None:
    """Refuse a node in the place of the coordinator: advisory locks and LISTEN are of one server.

    Refuse also a coordinator that leaves commits unfinished.
    """
    ((place, settles),) = await asked.fetch("place_in_citus")
    if place != 0:
        raise StorageConfigurationError(
            f"{asked.settings.where}: this server is a node of Citus; name its coordinator in the URL, whose locks "
            "and notifications all workers share"
        )
    if settles == "-1" and asked.settings.durable:
        raise StorageConfigurationError(
            f"{asked.settings.where}: citus.recover_2pc_interval is -1, so that after the crash of a node nobody "
            "finishes the commits that were prepared on it, and what was committed there stays unseen; set it to 1s, "
            "or add durability=relaxed to the URL to accept that"
        )


async def check_nodes(asked: Asked) -> None:
    """Refuse nodes that wait for locked rows without a limit: they do not get the limit of a connection."""
    limits = await asked.fetch("lock_timeouts", asked.settings.schema or "")
    patient = [port for port, limit in limits if limit == "0"]
    if patient:
        raise StorageConfigurationError(
            f"{asked.settings.where}: {len(patient)} nodes of Citus wait for locked rows without a limit, so that such "
            "a row holds up all others of its statement; set lock_timeout = 1s in the configuration of each node"
        )


ENGINE: Final = Engine(
    gives_places=False,  # nobody has tried what a first append locks and counts there
    extension="citus",
    addition=" with Citus {version}",
    opening=Opening(before=check_coordinator, after=check_nodes),
    errors=Errors(
        restated=(
            Restated(_INTERNAL, re.compile("duplicate key value violates unique constraint"), "23505"),
            Restated(_INTERNAL, re.compile("canceling statement due to lock timeout"), "55P03"),
            Restated(_INTERNAL, re.compile("deadlock detected"), "40P01"),
        )
    ),
    scripts=("engines/citus.sql",),
    # It asks of each relation whether it is part of another: the driver's query for types takes minutes with that.
    settings=MappingProxyType({"citus.override_table_visibility": "off"}),
    planning=MappingProxyType({"plan_cache_mode": "auto"}),  # it has no plan of `beat` for any values
    carries_settings=False,
)
