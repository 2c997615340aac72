"""Compares what the activities of a shape did with the log of their instance.

Each effect is completed, undone or unknown in the log; what the log calls cancelled had no effect; what it calls
completed had one. A run that failed or was cancelled has undone all that it did, except for what its end names. No
effect stands twice under one key, unless the process that did it died in between, or may have lost its lease.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from romancy.core import (
    TERMINAL,
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    ActivityScheduled,
    CompensationCompleted,
    CompensationFailed,
    CompensationScheduled,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinued,
    WorkflowFailed,
    WorkflowForked,
    WorkflowRetried,
    WorkflowStarted,
    idempotency_key,
)
from romancy_conformance.chaos.shapes.acts import DO, UNDO, Act, Stood, put, put_lazily, put_on_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.core import LogEvent

__all__ = ["TERMINATED", "compare", "doubled", "kept", "of_life"]

TERMINATED = "terminated by the shape"
"""The reason by which the judge knows an instance that was terminated."""
_PUTS = frozenset(each.name for each in (put, put_on_a_thread, put_lazily))
_LAZY = put_lazily.name


def doubled(acts: Iterable[Act], stood: Iterable[Stood], lease: float) -> list[tuple[str, str]]:
    """Return the instances whose effects stand twice under one key, without a death in between."""
    deaths: defaultdict[int, list[Stood]] = defaultdict(list)
    for each in stood:
        deaths[each.process].append(each)
    by_key: defaultdict[tuple[str, str, str], list[Act]] = defaultdict(list)
    for act in acts:
        by_key[act.instance, act.key, act.what].append(act)
    found: list[tuple[str, str]] = []
    for (instance, _, what), same in by_key.items():
        same.sort(key=lambda act: act.at)
        for one, two in pairwise(same):
            if not any(
                each.end >= one.at - lease and each.begin <= two.at for each in (*deaths[one.process], *deaths[0])
            ):
                where = "the same process" if one.process == two.process else "another process"
                apart = f"{(two.at - one.at) * 1000:.0f} ms"
                found.append((instance, f"{what} of {one.activity} twice under one key, {apart} apart, in {where}"))
    return found


class _Log:
    """What the log of one run says about the quick activities."""

    def __init__(self, events: Sequence[LogEvent]) -> None:
        self.scheduled: dict[str, str] = {}
        self.completed: set[str] = set()
        self.nothing: set[str] = set()
        """What the log says had no effect: it was cancelled, or never begun."""
        self.unknown: set[str] = set()
        self.undos: dict[str, str] = {}
        """The activity that each compensation undoes."""
        self.undone: set[str] = set()
        """The compensations that completed."""
        self.failed_undos: set[str] = set()
        self.end: LogEvent | None = None
        for event in events:
            self._read(event)

    def _read(self, event: LogEvent) -> None:
        match event:
            case ActivityScheduled():
                self.scheduled[event.id] = event.name
            case ActivityCompleted():
                self.completed.add(event.id)
            case ActivityCancelled():
                (self.unknown if event.unknown else self.nothing).add(event.id)
            case ActivityCancelRequested(never_started=True):
                self.nothing.add(event.id)
            case CompensationScheduled():
                self.undos[event.id] = event.activity_id
            case CompensationCompleted():
                self.undone.add(event.id)
            case CompensationFailed():
                self.failed_undos.add(event.id)
            case _ if isinstance(event, TERMINAL):
                self.end = event
            case _:
                pass

    @property
    def is_cut(self) -> bool:
        """Whether it was terminated: what was scheduled and has no outcome is unknown, and nothing is undone."""
        return isinstance(self.end, WorkflowCancelled) and self.end.reason == TERMINATED

    @property
    def named(self) -> set[str]:
        """What its end names as not undone."""
        end = self.end
        return {*end.uncompensated, *end.unknown} if isinstance(end, WorkflowFailed | WorkflowCancelled) else set()


def compare(
    events: Sequence[LogEvent], acts: Sequence[Act], died: frozenset[int] = frozenset()
) -> list[tuple[str, str]]:
    """Return what the log of an instance and its effects disagree about, as kinds and texts.

    The log of a retry repeats what it remembers, and that of a fork or a rewind has what was copied: they are not
    compared. `died` names the processes that died, or may have
    lost their lease: what a lazy activity did there may be missing in the log, and is done again if its workflow still
    asks for it. The same goes for what it did when its workflow was terminated. The runs of an instance that recurs are
    compared one by one, as their activities may have the same ids.
    """
    if any(isinstance(event, WorkflowRetried | WorkflowForked) for event in events):
        return []
    runs = _runs(events)
    if _misses_runs(runs[0]):
        acts = of_life(events, acts)
    if len(runs) == 1:
        return _compare_a_run(events, acts, died)
    strange = sorted(act.activity for act in set(acts).difference(of_life(events, acts)))
    found = [("unheard", f"{id} was carried out by none of its runs") for id in strange]
    for run in runs:
        found += _compare_a_run(run, of_life(run, acts), died)
    return found


def _runs(events: Sequence[LogEvent]) -> list[Sequence[LogEvent]]:
    """The events of each run."""
    begins = [number for number, event in enumerate(events) if isinstance(event, WorkflowStarted)][1:]
    return [events[begin:end] for begin, end in pairwise((0, *begins, len(events)))]


def _misses_runs(first: Sequence[LogEvent]) -> bool:
    """Whether the rows of finished runs before this one were removed."""
    return any(isinstance(event, WorkflowStarted) and event.run > 1 for event in first)


def _compare_a_run(events: Sequence[LogEvent], acts: Sequence[Act], died: frozenset[int]) -> list[tuple[str, str]]:
    log = _Log(events)
    did: defaultdict[str, list[Act]] = defaultdict(list)
    undid: defaultdict[str, list[Act]] = defaultdict(list)
    for act in acts:
        (did if act.what == DO else undid)[act.activity].append(act)
    found = [*_not_in_the_log(log, did, undid, died), *_not_done(log, did, undid)]
    if log.end is not None and not log.is_cut:
        found += _not_undone(log, did, undid)
    return found


def of_life(events: Sequence[LogEvent], acts: Iterable[Act]) -> list[Act]:
    """Return the effects of the runs in this log, if the id of their instance has had others too."""
    nonces = [event.nonce for event in events if isinstance(event, WorkflowStarted)]
    return [act for act in acts if any(act.key == idempotency_key(act.instance, one, act.activity) for one in nonces)]


def _not_in_the_log(
    log: _Log, did: dict[str, list[Act]], undid: dict[str, list[Act]], died: frozenset[int]
) -> Iterable[tuple[str, str]]:
    for id, acts in did.items():
        lost = log.is_cut or all(act.process in died for act in acts)
        if id.startswith(_LAZY) and lost and id not in log.completed:
            continue  # its append came too late: another process began it again, or nobody
        if id in log.nothing:
            yield "unheard", f"{id} was carried out, and the log says that it had no effect"
        elif id not in log.scheduled:
            yield "unheard", f"{id} was carried out, and is not in the log"
        elif id in log.scheduled and log.end is not None and not log.is_cut and id not in log.completed | log.unknown:
            yield "unheard", f"{id} was carried out, and its run ended without its outcome"
    for id in undid.keys() - log.undos.keys():
        yield "unheard", f"{id} has undone something, and is not in the log"


def _not_done(log: _Log, did: dict[str, list[Act]], undid: dict[str, list[Act]]) -> Iterable[tuple[str, str]]:
    for id in sorted(log.completed - did.keys()):
        if log.scheduled.get(id) in _PUTS:
            yield "lost", f"{id} completed in the log, and was never carried out"
    for id in sorted(log.undone - undid.keys()):
        yield "lost", f"{id} completed in the log, and has undone nothing"


def _not_undone(log: _Log, did: dict[str, list[Act]], undid: dict[str, list[Act]]) -> Iterable[tuple[str, str]]:
    if isinstance(log.end, WorkflowCompleted | WorkflowContinued):
        for id in undid:
            yield "undone", f"{id} has undone something, and its run completed"
        return
    undone = {log.undos[id] for id in undid.keys() & log.undos.keys()}
    for id in did:
        if not id.startswith(_LAZY) and id not in undone | log.named:
            yield "undone", f"{id} was carried out, and is neither undone nor named by the end"
    per_activity: defaultdict[str, list[str]] = defaultdict(list)
    for id in undid.keys() & log.undos.keys():
        per_activity[log.undos[id]].append(id)
    for id, undos in per_activity.items():
        if len(undos) > 1:
            yield "undone", f"{id} was undone several times, by {sorted(undos)}"
    for id in sorted(log.undos.keys() - log.undone - log.failed_undos):
        if log.undos[id] not in log.named:
            yield "lost", f"{id} was to undo something, and its run ended before that"


def kept(act: Act) -> str:
    """Return an effect as a line for people."""
    return f"{act.at:.3f} {act.process} {'undo' if act.what == UNDO else 'do'} {act.activity} {act.key}"
