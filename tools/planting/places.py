"""Faults of places under limits."""

from __future__ import annotations

from typing import Final

from tools.planting.planted import Planted

__all__ = ["PLANTED"]

_ENGINE: Final = "romancy/engine"

PLANTED: Final = (
    Planted(
        name="place: a dispatch does not count those that are taken",
        file="romancy/storage/sqlkit/lanes.py",
        text="        ((self.taken, self.heavy),) = taken.rows\n",
        replacement="        ((_, self.heavy),) = taken.rows\n        self.taken = 0\n",
        shapes="limited",
    ),
    Planted(
        name="place: an end leaves no mark at its lanes",
        file=f"{_ENGINE}/interests.py",
        text="        for one in self.registered.values():\n            self._changes(one)\n",
        replacement="",
        shapes="limited",
    ),
    Planted(
        name="place: whoever asks leaves no mark at the lane",
        file=f"{_ENGINE}/interests.py",
        text="                self._changes(wanted, new=True)\n",
        replacement="",
        shapes="limited",
    ),
    Planted(
        name="place: an instance that is terminated from outside gives none back",
        file=f"{_ENGINE}/outside/terminating.py",
        text="    gone, changes = await _places(store, row)\n",
        replacement="    gone, changes = (), ()\n",
        shapes="limited",
        unseen="others of its lane end soon, and their marks have the lane dispatched",
    ),
    Planted(
        name="place: what the run before has asked for is for the next one too",
        file="romancy/core/run/place_commands.py",
        text="~{self.started.nonce[:_OF_THE_RUN]}",
        replacement="~",
        shapes="limited",
    ),
    Planted(
        name="place: the lowest priority goes first",
        file="romancy/storage/admission.py",
        text="    return -rank(0, decode_terms(terms).priority)\n",
        replacement="    return rank(0, decode_terms(terms).priority)\n",
        shapes="limited",
    ),
    Planted(
        name="place: who is refused begins all the same",
        file="romancy/core/run/place_commands.py",
        text="            answer.set_exception(Skipped(answer.refusal))\n",
        replacement="            answer.set_result(event.id)\n",
        shapes="limited",
    ),
    Planted(
        name="place: who does not wait is not refused either",
        file="romancy/storage/sqlkit/lanes.py",
        text="        self.refused += [one for one in demands if (one.owner, one.interest_id) not in given]\n",
        replacement="",
        shapes="limited",
    ),
    Planted(
        name="place: a start takes what a worker writes at first for the body",
        file="romancy/starting/skipping.py",
        text="(Input, InputDeferred, WorkflowCaughtUp, PlaceAsked)",
        replacement="(PlaceAsked, PlaceGranted, PlaceRefused)",
        shapes="limited",
    ),
    Planted(
        name="turns: the lines before the last one are not reached",
        file="romancy/storage/turns.py",
        text="            yield from self._lines(_NEXT, line, self._share)\n",
        replacement="",
        shapes="limited",
    ),
)
