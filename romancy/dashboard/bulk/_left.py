"""Says which requests of a job no worker has taken yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy._job_name import NAME
from romancy.engine import names_in
from romancy.insight import ago, alive, many
from romancy.instance import at_of
from romancy.managing.waits import untaken_of
from romancy.storage.any_store import lying_in

if TYPE_CHECKING:
    from romancy.instance import Instance
    from romancy.storage.protocol import Store

__all__ = ["REQUESTS", "left_of"]

REQUESTS: Final = {
    "signal": "Sent",
    "cancel": "Cancel requested",
    "resume": "Resume requested",
    "retry": "Retry requested",
    "unpause": "Unpause requested",
}
"""Actions that a worker has to take up, and the word for those that were asked."""
_MOST: Final = 2000
"""How many messages in inboxes are looked at."""


async def left_of(store: Store, job: Instance, verb: str) -> str:
    """What is left for a worker of a job that has asked some instances. Empty if nothing is known to be left."""
    if verb not in REQUESTS:
        return ""
    census = await store.services.reading.census()
    working = [peer for peer in alive(census) if names_in(peer.codes) != {NAME}]
    lying = 0
    async for each in lying_in(store, most=_MOST):
        found = untaken_of(each.row)
        lying += found is not None and found.kind == verb and found.at >= job.created_at
    begun = ago(at_of(job.created_at), census.now)
    nobody = "" if working else ": none is alive"
    if lying:
        return f"{verb.capitalize()} requested {begun}: no worker has taken {many(lying, 'request')} yet{nobody}."
    if not working and verb in {"retry", "resume", "unpause"}:
        return f"{verb.capitalize()} requested {begun}: no worker is alive, and what nobody has taken waits for one."
    return ""
