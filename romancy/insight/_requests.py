"""Says in sentences what an instance was asked or sent, and no worker has taken: cancels, retries, resumes, signals."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from romancy.engine import names_in
from romancy.insight._numbers import many
from romancy.insight._time_texts import ago
from romancy.instance import Untaken, at_of
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from romancy.insight._timeline import Step, Timeline
    from romancy.storage.records import Census, InstanceRow, Peer

__all__ = ["alive", "fits", "requested", "silent", "untaken_sentences"]

_NAMED: Final = 5
"""How many different events are named."""
_SAID: Final = {"answer": "answered", "refusal": "refused"}
_WORDS: Final = {"cancel": "A cancel", "pause": "A pause", "terminate": "A termination"}


def untaken_sentences(
    row: InstanceRow, timeline: Timeline, census: Census, untaken: Sequence[Untaken]
) -> Iterator[str]:
    """The requests and events that lie in the inbox, and a retry or a resume that no worker has taken."""
    for one in untaken:
        if one.kind == "pause" and row.owner is not None:
            reason = f" because: {one.name}" if one.name else ""
            yield f"It is paused as soon as its activities at work have ended{reason}."
        elif one.kind in _WORDS:
            reason = f" ({one.name})" if one.name else ""
            yield requested(_WORDS[one.kind], reason, at_of(one.at), row, census)
        elif one.kind in _SAID:
            when = ago(at_of(one.at), census.now)
            yield f"The question {one.name!r} was {_SAID[one.kind]} {when}; {_not_taken(row, census)}."
    if timeline.asked is not None and _rests(row, timeline.asked[0]):
        what, at = timeline.asked
        yield requested(f"A {what}", "", at, row, census)
    waits = [step for step in timeline.open if step.kind == "event"]
    signals = [one for one in untaken if one.kind == "signal"]
    yield from _on_its_way(row, census, [one for one in signals if _is_on_its_way(one, waits, row)])
    yield from _misfits(waits, census.now, [one for one in signals if not _is_on_its_way(one, waits, row)])
    if sealed := sum(one.kind == "sealed" for one in untaken):
        yield f"{many(sealed, 'message')} in its inbox cannot be read here: a codec has sealed them."


def requested(what: str, reason: str, at: int, row: InstanceRow, census: Census) -> str:
    """The sentence about a request that lies there."""
    return f"{what} was requested {ago(at, census.now)}{reason}; {_not_taken(row, census)}."


def fits(signal: Untaken, wait: Step) -> bool:
    """Whether the wait is for this event and key, whatever the data."""
    return signal.name == wait.name and wait.key in {None, signal.key}


def alive(census: Census, workflow: str | None = None) -> list[Peer]:
    """The live workers, or those of them that may know the workflow."""
    found = [peer for peer in census.workers if peer.works and not peer.dead and not silent(peer, census.now)]
    return [peer for peer in found if workflow is None or workflow in (names_in(peer.codes) or {workflow})]


def silent(peer: Peer, now: int) -> bool:
    """Whether its last heartbeat is older than its lease."""
    return peer.beat_at + peer.lease < now


def _rests(row: InstanceRow, what: str) -> bool:
    """Whether nobody has acted on the retry or the resume, which the log ends with."""
    return row.owner is None and (what == "retry" or row.status is Status.RUNNING)


def _not_taken(row: InstanceRow, census: Census) -> str:
    living = alive(census)
    owner = next((peer for peer in living if peer.token == row.owner), None)
    if owner is not None:
        return f"worker {owner.worker_id}, which holds the instance, has not taken it yet"
    if not living:
        return "no worker has taken it: none is alive"
    if not alive(census, row.workflow_name):
        return f"no worker has taken it: none is alive that knows workflow {row.workflow_name}"
    return "no worker has taken it yet"


def _is_on_its_way(signal: Untaken, waits: Iterable[Step], row: InstanceRow) -> bool:
    """Whether a worker that looks now would give it to a wait, as far as can be said without its data."""
    unseen = row.owner is None and row.signals != row.seen
    fitting = [wait for wait in waits if fits(signal, wait)]
    return row.status is Status.PENDING or any(unseen or not wait.conditions for wait in fitting)


def _on_its_way(row: InstanceRow, census: Census, signals: Sequence[Untaken]) -> Iterator[str]:
    for what, last, count in _grouped(signals):
        times = "" if count == 1 else f"{count} times, last "
        at = ago(at_of(last.at), census.now)
        yield f"The event {what} was sent to it {times}{at}; {_not_taken(row, census)}."


def _misfits(waits: Sequence[Step], now: int, signals: Sequence[Untaken]) -> Iterator[str]:
    if not signals:
        return
    groups = list(_grouped(signals))
    sent = [
        f"{what} ({ago(at_of(last.at), now) if count == 1 else many(count, 'time')})"
        for what, last, count in groups[:_NAMED]
    ]
    more = "" if len(groups) <= _NAMED else f" and {len(groups) - _NAMED} other events"
    told = f"it has been sent {', '.join(sent)}{more}"
    if not waits:
        yield f"It waits for no event; {told}, and keeps this until it waits for it."
        return
    wanted = dict.fromkeys(_keyed(wait.name, wait.key) for wait in waits)
    fitting = any(fits(one, wait) for one in signals for wait in waits)
    why = ", which does not meet the conditions" if fitting else ", which is another event"
    yield f"It waits for {', '.join(list(wanted)[:_NAMED])}; {told}{why}."


def _grouped(signals: Sequence[Untaken]) -> Iterator[tuple[str, Untaken, int]]:
    """The events by name and key, each with the last of them and their number."""
    names = [_keyed(one.name, one.key) for one in signals]
    last = dict(zip(names, signals, strict=True))
    for name, count in Counter(names).items():
        yield name, last[name], count


def _keyed(name: str, key: str | None) -> str:
    return f"{name!r}" if key is None else f"{name!r} with the key {key!r}"
