"""What the end of a log shows about the owners that an instance has lost, and what follows from it.

Each takeover leaves an entry, which names the suspect that the lost worker tried. Each trial leaves one, and each
survived trial. The log of one instance therefore says of each lost worker whether it drove the instance, whether it
tried it, and whether it tried another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.core import OwnerChanged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from romancy.core import LogEvent

__all__ = ["FIRST_BEAT", "TAIL", "Evidence", "evidence_in", "others_tried"]

TAIL: Final = 32
"""So many commits of a log are looked at."""
FIRST_BEAT: Final = 0.5
"""Seconds from the beginning of a trial to its first heartbeat. Each further one comes after twice the time."""
_SUSPICIOUS: Final = 2
_TRIALS: Final = 5
_ALIVE: Final = 1.0
"""Seconds that a worker lives without the instance before the first trial; twice as long before each further one."""
_TIMES_LONGER: Final = 8
"""The time that a worker has to live without the instance, as a multiple of the longest fatal trial."""
_LONG_ENOUGH: Final = 240.0
"""Upper bound on that time, in seconds."""
_ALL: Final = 30.0
"""Seconds in which all suspects of a worker have begun, if each survives."""
_SHORTEST: Final = 0.2
"""The shortest trial of an instance that survives, in seconds."""
_DOUBLINGS: Final = 8
_AGAIN: Final = 2.0
"""The shortest trial of an instance that has a fatal one behind it, in seconds."""


class Evidence(NamedTuple):
    """The evidence at the end of a log about the owners that the instance has lost since its log last grew."""

    deaths: int = 0
    """How many owners in a row lost the instance."""
    trials: tuple[int, ...] = ()
    """The fatal trials: for how many µs each lasted at most."""
    without: int = 0
    """How many of the deaths were of workers that owned the instance as a suspect and did not drive it."""
    suspicious: bool = False
    """Whether it may begin only in a trial."""
    relapses: int = 0
    """How many trials it survived before these deaths without its log growing otherwise."""
    tried_since: int | None = None
    """When its present owner began to try it (µs); None if it has not."""

    @property
    def enough(self) -> bool:
        """Whether the instance must be parked. Two deaths without it weigh as much as one fatal trial."""
        return len(self.trials) >= _TRIALS + self.without // 2

    def alive_before(self, longest: float) -> float:
        """Seconds that a worker lives without the instance before a trial; no trial takes longer than `longest`."""
        return max(
            _ALIVE * (1 << min(len(self.trials), _TRIALS)),
            min(_TIMES_LONGER * self._longest_trial(longest), _LONG_ENOUGH),
        )

    def trial_for(self, many: int, longest: float) -> float:
        """Seconds after which a trial is survived, at most `longest`, where a worker has so many suspects.

        An instance that survived and was suspected again may need more time to end its worker. One that has a fatal
        trial behind it needs about that long: the shorter the trial, the rarer dies a worker in it by accident.
        """
        if self.trials:
            return min(max(_AGAIN, self._longest_trial(longest)), longest)
        return min(max(_SHORTEST, _ALL / many) * (1 << min(self.relapses, _DOUBLINGS)), longest)

    def _longest_trial(self, longest: float) -> float:
        return min(max(self.trials, default=0) / 1_000_000, longest)


def evidence_in(
    commits: Iterable[list[LogEvent]],
    instance_id: str,
    *,
    living: Collection[str] = (),
    guilty: Collection[str] = (),
) -> Evidence:
    """The evidence in these commits, the last of its log.

    `living` are workers that are known not to have died, `guilty` instances that were parked since: who died trying one
    of them says nothing of this one.
    """
    series: list[OwnerChanged] = []
    relapses, over = 0, False
    for commit in reversed(list(commits)):
        entries = [event for event in reversed(commit) if isinstance(event, OwnerChanged)]
        if len(entries) < len(commit):
            break
        if all(event.owner for event in entries):
            if not over:
                series += entries
        elif all(event.alone for event in entries):
            over = True
            relapses += 1
        else:
            break
    series = [event for event in series[::-1] if event.alone or event.tried not in guilty]
    return _weighed(series, instance_id, living)._replace(relapses=relapses)


def others_tried(commits: Iterable[list[LogEvent]], instance_id: str) -> set[str]:
    """The other instances that lost workers were trying, as these commits tell."""
    entries = [event for commit in commits for event in commit if isinstance(event, OwnerChanged) and not event.alone]
    return {event.tried for event in entries} - {"", instance_id}


def _weighed(series: list[OwnerChanged], instance_id: str, living: Collection[str]) -> Evidence:
    """What these changes of owners show, the oldest first. A lost worker of which no entry says otherwise drove it."""
    trials: list[int] = []
    excusers: set[str] = set()
    deaths = driven = without = 0
    marked, trial = False, None
    for event in series:
        if event.alone:
            marked, trial = True, event
            continue
        deaths += 1
        if trial is not None:
            if event.tried == trial.tried and trial.owner not in living:
                trials.append(_lasted(trial, event))
        elif marked or _is_suspicious(driven, excusers):
            without += 1
        elif event.tried in ("", instance_id):
            driven += 1
        else:
            excusers.add(event.tried)
        trial = None
    return Evidence(
        deaths,
        tuple(trials),
        without,
        suspicious=marked or _is_suspicious(driven, excusers),
        tried_since=None if trial is None else trial.at,
    )


def _is_suspicious(driven: int, excusers: Collection[str]) -> bool:
    """Whether the instance may be what ended these workers.

    A death during the trial of another one is blamed on that one. But if several different ones are blamed, most of
    them are innocent, and something that nobody suspects ends the workers.
    """
    return driven + max(0, len(excusers) - 1) >= _SUSPICIOUS


def _lasted(trial: OwnerChanged, taken_over: OwnerChanged) -> int:
    """For how many µs a fatal trial lasted at most: until its next heartbeat was due, or another worker had it."""
    until_taken = taken_over.at - trial.at
    if not trial.heard or not taken_over.heard:
        return until_taken
    last_beat = max(0, taken_over.heard - trial.at)
    return min(until_taken, max(2 * last_beat, round(FIRST_BEAT * 1_000_000)))
