"""Workers that die one after the other, in simulated time: by the instances that they drive, or by accident.

Instances, suspicion, order and length of trials are as in a real worker. What is left out is the database.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Raw

from romancy.core import ActivityScheduled, LogEvent, OwnerChanged, WorkflowStarted
from romancy.engine.worker.evidence import TAIL, Evidence, evidence_in
from romancy.engine.worker.turns import next_of
from romancy.serialization import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["STEP", "Patient", "Storm"]

NULL = Raw(dumps(None, "nothing"))
STEP: list[LogEvent] = [
    WorkflowStarted(at=1, workflow="w", input=NULL, nonce="n"), ActivityScheduled(id="a:1", name="a", args=NULL),
]  # fmt: skip
PATIENCE = 30.0
_BEATS = [0.5 * 2**number for number in range(8)]


@dataclass
class Patient:
    """An instance: after `fatal` seconds in a worker it ends that one, after `lasting` seconds its log grows."""

    id: str
    fatal: float = math.inf
    lasting: float = 600.0
    comes: float = 0.0
    """When it is started."""
    commits: list[list[LogEvent]] = field(default_factory=lambda: [STEP])
    parked_at: float | None = None
    died_with: int = 0
    """How many workers died owning it."""
    since: float | None = None
    """Since when the present worker drives it."""


@dataclass
class Storm:
    """What a chain of workers does with these instances."""

    patients: list[Patient]
    chance: random.Random
    mean_life: float = math.inf
    """Seconds that a worker lives on average, unless something that it drives ends it."""
    gap: float = 1.0
    """Seconds from a death to the next worker."""
    now: float = 0.0
    deaths: int = 0

    def run(self, *, deaths: int, until: float = math.inf) -> None:
        """Let workers live until so many have died, or none dies before that time."""
        while self.deaths < deaths and self.now < until:
            end = self.now + (self.chance.expovariate(1 / self.mean_life) if self.mean_life < math.inf else math.inf)
            self._one_worker(min(end, until))

    def _one_worker(self, end: float) -> None:
        worker = _Worker(self, self.now)
        while worker.goes_on(end):
            pass
        self._taken_over(worker.owned, worker.tried, worker.last_beat())

    def _taken_over(self, patients: Iterable[Patient], tried: str, heard: float) -> None:
        self.now += self.gap
        self.deaths += 1
        for each in patients:
            each.since = None
            if each.parked_at is None:
                each.died_with += 1
                event = OwnerChanged(at=round(self.now * 1e6), owner="w", heard=round(heard * 1e6), tried=tried)
                each.commits.append([event])


class _Worker:
    """One worker of a storm."""

    def __init__(self, storm: Storm, start: float) -> None:
        self._storm, self._start = storm, start
        self._owned: dict[str, Patient] = {}
        self._held: dict[str, Evidence] = {}
        self._most = 0
        self.tried = ""
        self._over = math.inf
        """When the present trial is survived."""

    @property
    def owned(self) -> Iterable[Patient]:
        return self._owned.values()

    def goes_on(self, end: float) -> bool:
        """Let the next thing happen. False: the worker dies, at the latest at that time."""
        storm = self._storm
        self._claim()
        driven = [one for one in self.owned if one.since is not None and one.parked_at is None]
        dies = min([end, *(one.since + one.fatal for one in driven if one.since is not None)])
        grows = min([(one.since + one.lasting, one.id) for one in driven if one.since is not None] or [(math.inf, "")])
        comes = min((one.comes for one in storm.patients if one.comes > storm.now), default=math.inf)
        begins, chosen = math.inf, ""
        if self._held and not self.tried:
            chosen, wait = next_of(self._held, storm.now - self._start, self._most, PATIENCE)
            begins = storm.now + wait
        now = storm.now = min(dies, grows[0], begins, self._over, comes)
        if now == dies:
            return False
        if now == grows[0]:
            self._grows(self._owned[grows[1]])
        elif now == self._over:
            self._owned[self.tried].commits.append([OwnerChanged(at=round(now * 1e6), code="c", alone=True)])
            self.tried, self._over = "", math.inf
        elif now == begins:
            self._begins(self._owned[chosen])
        return True

    def _claim(self) -> None:
        storm = self._storm
        for each in storm.patients:
            if each.id in self._owned or each.parked_at is not None or each.comes > storm.now:
                continue
            self._owned[each.id] = each
            guilty = [one.id for one in storm.patients if one.parked_at is not None]
            evidence = evidence_in(each.commits[-TAIL:], each.id, guilty=guilty)
            if evidence.enough:
                each.parked_at = storm.now
            elif evidence.suspicious:
                self._held[each.id] = evidence
            else:
                each.since = storm.now
        self._most = max(self._most, len(self._held))

    def _grows(self, patient: Patient) -> None:
        patient.commits, patient.since = [STEP], self._storm.now
        if patient.id == self.tried:
            self.tried, self._over = "", math.inf

    def _begins(self, patient: Patient) -> None:
        now = self._storm.now
        self.tried, self._over = patient.id, now + self._held.pop(patient.id).trial_for(self._most, PATIENCE)
        at = round(now * 1e6)
        patient.commits.append([OwnerChanged(at=at, owner="w", alone=True, heard=at, tried=patient.id)])
        patient.since = now

    def last_beat(self) -> float:
        began = self._owned[self.tried].since if self.tried else self._start
        assert began is not None
        beats = [began, *(began + beat for beat in _BEATS if began + beat <= self._storm.now)]
        return beats[-1] if self.tried else began
