"""Says in sentences which attempts did not stop when they were told to, and so keep the slots of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.insight._requests import alive
from romancy.insight._time_texts import span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.insight._known import Known
    from romancy.insight._timeline import Step, Timeline
    from romancy.storage.records import Census

__all__ = ["slots_kept"]


def slots_kept(timeline: Timeline, census: Census, known: Known | None) -> Iterator[str]:
    """The attempts that still run here, as the process knows, or that may run elsewhere, as the log says."""
    here = known.still_runs if known is not None else ()
    for one in here:
        yield (
            f"Attempt {one.number} of {one.id} was told to stop {span(one.since)} ago and still runs in this process: "
            "it keeps a slot (max_activities, and max_threads on a thread) until it ends."
        )
    if known is not None and known.token and all(peer.token == known.token for peer in alive(census)):
        return  # no other worker is alive that could run one
    told = {(one.id, one.number) for one in here}
    for step in timeline.steps:
        for number in _unknown(step):
            if (step.id, number) not in told:
                yield (
                    f"Attempt {number} of {step.id} was told to stop and did not answer. Unless it has ended since, it "
                    "keeps a slot of the worker that ran it."
                )


def _unknown(step: Step) -> list[int]:
    """The numbers of the attempts of unknown outcome."""
    numbers = [failure.number for failure in step.failures if failure.unknown]
    if step.unknown and not step.may_have_died:
        numbers.append(step.last_attempt)
    return numbers
