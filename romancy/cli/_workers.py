"""`workers`: the registered workers, and which of them are alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from romancy.cli._database import database, operating, running
from romancy.cli._printing import as_json, json_option, say, table, time_of
from romancy.engine import draining_in, names_in, release_in, suspects_in, tried_in, versions_in
from romancy.insight import ago, moment, silent, suspects_of
from romancy.storage.notices import notices_in

if TYPE_CHECKING:
    from romancy.storage.records import Peer

__all__ = ["state_of", "workers"]

_MOST_NAMES: Final = 10
_PAUSED: Final = {"activity": "activity", "workflow": "workflow"}


@click.command()
@database
@json_option
@running
async def workers(url: str | None, app: str | None, json_lines: bool) -> None:  # noqa: FBT001 - by name
    """The registered workers, with their last heartbeats."""
    async with operating(url, app) as operator:
        census = await operator.store.services.reading.census()
    registered = [peer for peer in census.workers if peer.works]
    for peer in registered if json_lines else ():
        as_json(
            {
                "worker_id": peer.worker_id,
                "state": state_of(peer, census.now),
                "pid": peer.host.pid,
                "started_at": time_of(peer.started_at),
                "beat_at": time_of(peer.beat_at),
                "lease": peer.lease,
                "codes": sorted(versions_in(peer.codes)),
                "workflows": sorted(names_in(peer.codes)),
                "release": release_in(peer.codes) or None,
                "suspects": suspects_in(peer.codes),
                "tried": tried_in(peer.codes) or None,
                "draining": _draining(peer),
            }
        )
    if not json_lines and registered:
        rows = (
            (
                _state(peer, census.now),
                ago(peer.beat_at, census.now),
                moment(peer.started_at),
                release_in(peer.codes) or "-",
                peer.worker_id,
                _known(peer),
            )
            for peer in registered
        )
        table(("STATE", "LAST BEAT", "STARTED (UTC)", "RELEASE", "WORKER", "WORKFLOWS"), rows)
    for one in notices_in(census.workers):
        if one.kind not in _PAUSED:
            continue
        if json_lines:
            as_json({"paused": one.kind, "name": one.name, "reason": one.reason, "since": time_of(one.since)})
        else:
            because = f" because: {one.reason}" if one.reason else ""
            say(f"{_PAUSED[one.kind]} {one.name} is paused since {moment(one.since)} UTC{because}")
    if (suspects := suspects_of(census)).number:
        say(suspects.sentence)
    if not registered:
        say("no worker is registered; start one with `romancy run MODULE:APP`")


def _draining(peer: Peer) -> dict[str, int] | None:
    """How far a worker is that drains."""
    if (told := draining_in(peer.codes)) is None:
        return None
    return {"attempts": told[0], "instances": told[1]}


def _state(peer: Peer, now: int) -> str:
    """The state, and of a living worker that drains how far it is."""
    state, told = state_of(peer, now), draining_in(peer.codes)
    if told is None or state != "alive":
        return state
    return f"drains: {told[0]} at work, {told[1]} open" if any(told) else "drained"


def _known(peer: Peer) -> str:
    """The workflows that a worker knows, apart from those of the library; of many, the first ones."""
    names = sorted(name for name in names_in(peer.codes) if not name.startswith("romancy."))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more or "-"


def state_of(peer: Peer, now: int) -> str:
    """Whether a worker is alive, by the database's time."""
    if peer.dead:
        return "dead"
    return "silent" if silent(peer, now) else "alive"
