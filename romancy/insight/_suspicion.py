"""Says whether an instance is suspected of ending its workers, and counts suspects from what living workers tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from romancy.engine import evidence_in, suspects_in, tried_in
from romancy.insight._numbers import many
from romancy.insight._requests import alive
from romancy.insight._time_texts import ago, moment

if TYPE_CHECKING:
    from romancy.insight._timeline import Timeline
    from romancy.storage.records import Census, InstanceRow, Peer

__all__ = ["Suspects", "Suspicion", "suspects_of", "suspicion_of"]


class Suspicion(NamedTuple):
    """That an instance is suspected."""

    sentence: str
    since: int | None
    """When its worker began to try it (µs); None while it waits."""


class Suspects(NamedTuple):
    """How many instances living workers suspect, and which ones they try at this moment."""

    number: int = 0
    tried: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """One sentence about them."""
        now = f"; now {' and '.join(self.tried)}" if self.tried else ""
        verb = "is" if self.number == 1 else "are"
        return (
            f"{many(self.number, 'instance')} {verb} suspected of ending workers: one begins after another, "
            f"and nothing else waits for them{now}"
        )


def suspicion_of(row: InstanceRow, timeline: Timeline, census: Census) -> Suspicion | None:
    """Whether this open instance is suspected, by its log."""
    evidence = evidence_in([[event] for event in timeline.owners], row.instance_id)
    if not evidence.suspicious:
        return None
    said = f"It is suspected of ending its workers: {many(evidence.deaths, 'worker')} in a row were lost with it"
    if evidence.trials:
        said += f", {len(evidence.trials)} of them while they tried it"
    if evidence.tried_since is not None:
        since = f"{moment(evidence.tried_since)} UTC ({ago(evidence.tried_since, census.now)})"
        return Suspicion(f"{said}. It is being tried since {since}.", evidence.tried_since)
    owner = next((peer for peer in census.workers if peer.token == row.owner), None)
    if owner is not None and not suspects_in(owner.codes):
        return None  # those that its workers were blamed on are stuck since
    return Suspicion(f"{said}. {_waits(owner)}", None)


def _waits(owner: Peer | None) -> str:
    if owner is None:
        return "The next worker that takes it tries it."
    number = suspects_in(owner.codes)
    beside = f", one of {number}" if number > 1 else ""
    tried = tried_in(owner.codes)
    now = f" (now: {tried})" if tried else ""
    return (
        f"It waits for its turn{beside}: its worker lives for a while without it, and suspects begin one after "
        f"another{now}."
    )


def suspects_of(census: Census) -> Suspects:
    """The suspects of all living workers, as their last heartbeats told."""
    living = alive(census)
    tried = sorted(filter(None, (tried_in(peer.codes) for peer in living)))
    return Suspects(sum(suspects_in(peer.codes) for peer in living), tuple(tried))
