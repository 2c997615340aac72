"""Explains in sentences why an instance does not move: who holds it, what it waits for, who could continue it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from romancy.engine import release_in
from romancy.insight._numbers import many
from romancy.insight._requests import alive, silent, untaken_sentences
from romancy.insight._slots import slots_kept
from romancy.insight._suspicion import Suspicion, suspicion_of
from romancy.insight._time_texts import ago, moment, span
from romancy.serialization import cause_first
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.notices import is_held_start, notices_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from romancy.insight._known import Known
    from romancy.insight._timeline import Step, Timeline
    from romancy.instance import Untaken
    from romancy.storage.notices import Notice
    from romancy.storage.records import Census, InstanceRow, Peer

__all__ = ["explain"]

_LATE: Final = 5_000_000
"""In microseconds. A worker should have taken an instance that has been due for longer."""


def explain(
    row: InstanceRow,
    timeline: Timeline,
    census: Census,
    untaken: Sequence[Untaken] = (),
    known: Known | None = None,
    *,
    lines: Mapping[str, str] = MappingProxyType({}),
    others: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Sentences about an instance that does not move, the most important first.

    `untaken` are the messages in its inbox. `known` is what the worker of this process knows, if there is one.
    `lines` says of each place that it waits for, by its id, who is in the way. `others` says of each step that waits
    for another instance, by its id, what is wrong with that one.
    """
    kept = slots_kept(timeline, census, known)
    if row.status in TERMINAL_STATUSES:
        return [*_ended(row, timeline), *kept]
    if row.status is Status.STUCK:
        asked = untaken_sentences(row, timeline, census, untaken)
        return [*_stuck(row, timeline), *asked, *kept, *_who_could(row, census)]
    suspicion = suspicion_of(row, timeline, census)
    if row.status is Status.PAUSED:
        paused = _held_start(row, census) if is_held_start(row.error) else _paused(row, timeline, census.now)
        return [*paused, *untaken_sentences(row, timeline, census, untaken), *kept]
    return [
        *_cancelling(timeline),
        *_limited(timeline),
        *_ranked(row),
        *_in_turn(timeline),
        *([] if suspicion is None else [suspicion.sentence]),
        *_caught(timeline, census.now, known),
        *untaken_sentences(row, timeline, census, untaken),
        *(_open(step, row, census.now, suspicion, lines, others) for step in _told_once(timeline.open)),
        *_paused_activities(timeline, census),
        *_paused_workflow(row, census),
        *_conditions(known),
        *kept,
        *_put_aside(timeline),
        *_held(row, timeline, census),
    ]


def _ended(row: InstanceRow, timeline: Timeline) -> Iterator[str]:
    error = f": {cause_first(row.error)}" if row.error else ""
    yield _sentence(f"It has ended ({row.status}){error}")
    if timeline.unknown:
        yield f"It is unknown whether these took effect, and they were not undone: {', '.join(timeline.unknown)}."
    if row.status in (Status.FAILED, Status.CANCELLED):
        unsure = " --unsure done|undone" if timeline.unknown else ""
        yield f"`romancy retry {row.instance_id}{unsure}` runs it again; completed work that was not undone is kept."


def _stuck(row: InstanceRow, timeline: Timeline) -> Iterator[str]:
    reason = timeline.parked or row.error or "no reason was recorded"
    yield _sentence(f"It is stuck: {reason}")
    yield (
        "A worker with other code tries it again by itself. "
        f"After another cause is mended, `romancy resume {row.instance_id}` lets it be tried again."
    )


def _paused(row: InstanceRow, timeline: Timeline, now: int) -> Iterator[str]:
    reason, since = timeline.paused or ((row.error or ""), row.updated_at)
    because = f" because: {reason}" if reason else ""
    yield _sentence(f"It has been paused since {_when(since, now)}{because}")
    yield f"`romancy unpause {row.instance_id}` lets it go on with what has come meanwhile."
    if timeline.frozen is not None:
        yield "What it waits for is due as much later as it is paused."
    elif due := [step.due for step in timeline.open if step.due is not None and step.due <= now]:
        yield f"{many(len(due), 'time')} it waits for is over; that takes effect when the pause is over."


def _cancelling(timeline: Timeline) -> Iterator[str]:
    if timeline.cancelling is not None:
        reason = f" ({timeline.cancelling})" if timeline.cancelling else ""
        yield f"Its cancellation was requested{reason}."


def _limited(timeline: Timeline) -> Iterator[str]:
    if timeline.late:
        yield f"It has reached its limit of {span(timeline.limit)} and was told to stop."
    elif timeline.limit and timeline.cancelling is None:
        yield f"It is stopped if it has not ended {span(timeline.limit)} after its body began."


def _ranked(row: InstanceRow) -> Iterator[str]:
    if row.priority:
        yield f"It has priority {row.priority}: what has a higher one goes first, and what has a lower one later."


def _in_turn(timeline: Timeline) -> Iterator[str]:
    if timeline.fair_key:
        turns = "one turn" if timeline.weight == 1 else f"{timeline.weight} turns"
        yield f"Of those that wait to begin, its key {timeline.fair_key} has {turns} in each round."


def _caught(timeline: Timeline, now: int, known: Known | None) -> Iterator[str]:
    """That the body goes on although it was told to stop. A cleanup that awaits something does so too."""
    if steps := timeline.goes_on:
        begun = ", ".join(f"{one.kind} {one.name} ({one.id})" if one.name != one.kind else one.id for one in steps)
        where = None if known is None else known.whereabouts
        place = "" if where is None or where.place is None else f", at {where.place}"
        yield (
            f"It was told to stop at {_when(timeline.stopped_at, now)}, but its body caught CancelledError and goes "
            f"on{place}: it has begun {begun} since. It is cancelled, and undone, only if the body raises that error "
            "again; a body that ends otherwise was not cancelled."
        )


def _told_once(steps: Iterable[Step]) -> Iterator[Step]:
    """The steps, without waits for messages that are like another one: a body may receive many at once."""
    told = set[tuple[object, ...]]()
    for step in steps:
        alike = (step.kind, step.name, step.key, step.due)
        if step.kind != "message" or alike not in told:
            told.add(alike)
            yield step


def _open(
    step: Step,
    row: InstanceRow,
    now: int,
    suspicion: Suspicion | None,
    lines: Mapping[str, str],
    others: Mapping[str, str],
) -> str:
    since, other = span(now - step.began_at), others.get(step.id, "")
    match step.kind:
        case "timer":
            return f"It sleeps until {_when(step.due, now)}."
        case "event":
            key = f" with the key {step.key!r}" if step.key is not None else ""
            key += " and data that meet its conditions" if step.conditions and key else ""
            key = key or (" with data that meet its conditions" if step.conditions else "")
            limit = "without a time limit" if step.due is None else f"at most until {_when(step.due, now)}"
            return f"It waits for the event {step.name!r}{key}, {limit}, for {since}."
        case "message":
            limit = "without a time limit" if step.due is None else f"at most until {_when(step.due, now)}"
            return f"It waits for a message of channel {step.name!r} ({step.key}), {limit}, for {since}."
        case "request" | "question":
            return _of_people(step, now)
        case "subscription":
            return f"It waits until it has subscribed to channel {step.name!r} ({step.key}), for {since}."
        case "members":
            return f"It waits for the list of the members of channel {step.name!r}, for {since}."
        case "place":
            key = f" with the key {step.key!r}" if step.key is not None else ""
            line = f": {lines[step.id]}" if step.id in lines else ""
            return f"It waits for a place under the limit {step.name!r}{key}, for {since}{line}."
        case "child" | "activity" if step.kind == "child" or _waits_for_another(step, row):
            return _of_another(step, since, other)
        case _:
            return _attempted(step, now, suspicion, held=row.owner is not None)


_ASKS: Final = {
    "romancy.instance.request": "waits for the answer of instance",
    "romancy.instance.call": "waits for the answer of entity",
    "romancy.instance.result": "waits for the end of instance",
}
"""What a call to another instance does, by its name."""


def _waits_for_another(step: Step, row: InstanceRow) -> bool:
    return step.asks is not None and not step.failures and row.owner is not None


def _of_another(step: Step, since: str, other: str) -> str:
    """The wait for a child, or for an instance that is asked, and what is wrong with it."""
    told = f"It {_ASKS.get(step.name, 'turns to')} {step.asks} ({step.id}), for {since}"
    if step.kind == "child":
        child = "detached child" if step.detached else "child"
        told = f"It waits for its {child} {step.instance_id} (workflow {step.name}), for {since}"
    return _sentence(f"{told}; {other}" if other else told)


def _of_people(step: Step, now: int) -> str:
    """The wait for a request or for the answer to a question."""
    limit = "without a time limit" if step.due is None else f"at most until {_when(step.due, now)}"
    if step.kind == "request":
        return f"It waits for the request {step.name!r}, {limit}, for {span(now - step.began_at)}."
    whom = "" if step.key is None else f" to {step.key}"
    return f"It asks {step.name!r}{whom}, {limit}, since {_when(step.began_at, now)}; `romancy ask list` shows it."


def _paused_activities(timeline: Timeline, census: Census) -> Iterator[str]:
    open_ones = {step.name for step in timeline.open if step.kind in ("activity", "compensation")}
    for one in notices_in(census.workers):
        if one.kind == "activity" and one.name in open_ones:
            yield _sentence(f"No attempt at {one.name} begins: it is paused {_since_because(one, census)}")


def _paused_workflow(row: InstanceRow, census: Census) -> Iterator[str]:
    if row.status is Status.PENDING:
        for one in _pauses_of(row, census):
            yield _sentence(f"No start of {one.name} begins: it is paused {_since_because(one, census)}")


def _held_start(row: InstanceRow, census: Census) -> Iterator[str]:
    """That an instance waits because its workflow is paused."""
    if not (pauses := _pauses_of(row, census)):
        yield f"It has not begun, because workflow {row.workflow_name} was paused. A worker lets it go on in a moment."
        yield from _nobody(row, census)
        return
    for one in pauses[:1]:
        yield _sentence(f"It has not begun: workflow {one.name} is paused {_since_because(one, census)}")
        yield (
            f"`romancy unpause --starts {one.name}` lets all of its starts begin, and `romancy unpause "
            f"{row.instance_id}` this one."
        )


def _pauses_of(row: InstanceRow, census: Census) -> list[Notice]:
    return [one for one in notices_in(census.workers) if one.kind == "workflow" and one.name == row.workflow_name]


def _since_because(one: Notice, census: Census) -> str:
    return f"since {_when(one.since, census.now)}" + (f" because: {one.reason}" if one.reason else "")


def _conditions(known: Known | None) -> Iterator[str]:
    where = None if known is None else known.whereabouts
    for condition in () if where is None else where.conditions:
        yield f"It waits until {condition} holds."


def _put_aside(timeline: Timeline) -> Iterator[str]:
    if timeline.put_aside:
        last, count = timeline.put_aside[-1], len(timeline.put_aside)
        before = "" if count == 1 else f" ({count} so far; this is the last one)"
        which = f" with the id {last.message_id!r}" if last.message_id else ""
        yield _sentence(f"It has put aside the {last.topic.words}{which}{before}: {last.reason}")


def _attempted(step: Step, now: int, suspicion: Suspicion | None, *, held: bool) -> str:
    what = f"{step.kind} {step.name} ({step.id})"
    if suspicion is not None and suspicion.since is None and held:
        return f"Its {what} does not run while it is suspected{_told_to_stop(step, now)}."
    if not step.failures:
        does = "has been at work" if held else "waits for a worker"
        began_at = step.began_at if suspicion is None else max(step.began_at, suspicion.since or 0)
        return f"Its {what} {does} for {span(now - began_at)}{_told_to_stop(step, now)}."
    last = step.failures[-1]
    number = step.last_attempt
    error = f"attempt {last.number} failed {ago(last.at, now)} with {last.error.line}"
    if step.due is not None and step.due > now:
        return _sentence(f"Its {what} waits for attempt {number}, due {_when(step.due, now)}: {error}")
    return _sentence(f"Its {what} {'is at' if held else 'waits for a worker to make'} attempt {number}: {error}")


def _told_to_stop(step: Step, now: int) -> str:
    """That its workflow gave it up. It has half a minute for an answer."""
    return "" if step.stopped_at is None else f"; it was told to stop {ago(step.stopped_at, now)}"


def _sentence(text: str) -> str:
    """The text with a full stop, unless it ends with a mark of its own."""
    return text if text.endswith((".", "?", "!", "…", "\n")) else f"{text}."


def _when(at: int | None, now: int) -> str:
    return "an unknown time" if at is None else f"{moment(at)} UTC ({ago(at, now)})"


def _held(row: InstanceRow, timeline: Timeline, census: Census) -> Iterator[str]:
    if row.owner is not None:
        yield _owner(row.owner, census)
    elif row.wake_at is not None and max(row.wake_at, row.updated_at) + _LATE < census.now:
        since = row.wake_at if row.wake_at > row.created_at else row.updated_at
        yield f"It has been due since {_when(since, census.now)} and no worker has taken it."
        yield from _who_could(row, census)
    elif row.wake_at is not None and row.wake_at <= census.now:
        yield "It is due now; the next worker that looks takes it."
        yield from _nobody(row, census)
    elif row.wake_at is not None:
        yield f"No worker holds it while it rests; one takes it at {_when(row.wake_at, census.now)}."
        yield from _nobody(row, census)
    elif timeline.open:
        yield "No worker holds it while it rests; one takes it when what it waits for comes."
        yield from _nobody(row, census)
    else:
        yield "No worker holds it, and it is not due. The next sweep of a worker takes it up."
        yield from _who_could(row, census)


def _owner(token: str, census: Census) -> str:
    peer = next((peer for peer in census.workers if peer.token == token), None)
    if peer is None:
        return "The worker that held it is no longer registered; the next look of a worker frees it."
    beat = f"its last heartbeat was {ago(peer.beat_at, census.now)}, its lease is {span(peer.lease)}"
    if peer.dead:
        return f"Worker {peer.worker_id} holds it and is dead; another worker takes over."
    if silent(peer, census.now):
        return f"Worker {peer.worker_id} holds it and is silent: {beat}. Another worker takes over when one looks."
    return f"Worker {peer.worker_id} holds it: {beat}."


def _who_could(row: InstanceRow, census: Census) -> Iterator[str]:
    living = alive(census)
    same = [_named(peer) for peer in living if row.code in peer.codes]
    if not alive(census, row.workflow_name):
        yield from _nobody(row, census)
    elif same:
        yield f"Live workers with its version of the code ({row.code}): {', '.join(sorted(same))}."
    elif row.code == "by-name":
        yield f"It was started by its name: {many(len(living), 'live worker')} may know it, or not."
    else:
        run = "runs" if len(living) == 1 else "run"
        releases = sorted({release for peer in living if (release := release_in(peer.codes))})
        told = f" (release {', '.join(releases)})" if releases else ""
        yield (
            f"{many(len(living), 'live worker')}{told} {run} other code than the version it began with ({row.code}); "
            f"one of them has to know workflow {row.workflow_name}."
        )


def _named(peer: Peer) -> str:
    """A worker, with its release if it has one."""
    release = release_in(peer.codes)
    return f"{peer.worker_id} (release {release})" if release else peer.worker_id


def _nobody(row: InstanceRow, census: Census) -> Iterator[str]:
    if not alive(census):
        yield "No worker is alive: start one with `romancy run MODULE:APP`."
    elif not alive(census, row.workflow_name):
        yield f"No live worker knows workflow {row.workflow_name}: start one with `romancy run MODULE:APP`."
