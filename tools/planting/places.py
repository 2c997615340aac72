"""Faults of places under limits."""

from __future__ import annotations

from typing import Final

from tools.planting.planted import Planted

__all__ = ["PLANTED"]

_ENGINE: Final = "romancy/engine"

PLANTED: Final = (
    Planted(
        name="place: only a sweep has lanes dispatched",
        file=f"{_ENGINE}/dispatcher.py",
        text="[one for one in addresses if one not in self._aside]",
        replacement='[one for one in addresses if one not in self._aside and not one.startswith("l/")]',
        case="full-lanes",
    ),
    Planted(
        name="place: the dispatches of a dead worker wait for the next sweep",
        file=f"{_ENGINE}/worker/worker.py",
        text='has not done after its last commits."""\n        self.driver.dispatcher.sweep()\n',
        replacement='has not done after its last commits."""\n',
        case="death-before-a-dispatch",
        mend=True,
    ),
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
        text="    gone, changes = await places_of(store, row)\n",
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
        name="units: a place that counts as several counts as one",
        file="romancy/storage/sqlkit/lanes.py",
        text="        self.taken += sum(decode_terms(terms).units - 1 for (terms,) in heavy.rows)\n",
        replacement="",
        shapes="limited",
    ),
    Planted(
        name="units: of those that are let in together each counts as one",
        file="romancy/storage/admission.py",
        text="        room.take(asked.units, now)\n",
        replacement="        room.take(1, now)\n",
        shapes="limited",
    ),
    Planted(
        name="hold: what executes goes on without its place",
        file="romancy/core/run/place_commands.py",
        text="        return not self.resting\n",
        replacement="        return True\n",
        shapes="limited",
        unseen="the judge counts places, and not who executes; behaviour/limits/test_held_while_executing.py finds it",
    ),
    Planted(
        name="hold: what only waits keeps its place, and asks for another one",
        file="romancy/core/run/place_commands.py",
        text="        for one in reversed(self.resting):\n            self.ask(pl.PlaceFreed(one.id))\n",
        replacement="",
        shapes="limited",
    ),
    Planted(
        name="cancel: who has a place is not told to make way",
        file="romancy/storage/sqlkit/lanes.py",
        text="        self.stopped = losers(self._left(), _demands(holders), self.found.lacking)\n",
        replacement="        self.stopped = []\n",
        shapes="limited",
        unseen="the judge asks nobody to make way; behaviour/limits/test_newest_starts.py finds it",
    ),
    Planted(
        name="cancel: who makes way begins all the same",
        file="romancy/storage/admission.py",
        text="        if lacking > 0 and terms.full == CANCEL and not terms.told:\n",
        replacement="        if terms.full == CANCEL and not terms.told:\n",
        shapes="limited",
        unseen="the judge lets who makes way begin; behaviour/limits/test_units.py finds it",
    ),
    Planted(
        name="turns: whoever asks in a line of a key leaves no mark at the lane",
        file=f"{_ENGINE}/places.py",
        text="    return whole_lane(interest.address) if is_lane(interest.address) else lane_of(interest.address)\n",
        replacement="    return interest.address if is_lane(interest.address) else lane_of(interest.address)\n",
        shapes="limited",
    ),
    Planted(
        name="turns: a lane does not read the lines of its keys",
        file="romancy/storage/sqlkit/lanes.py",
        text="        return self._first_line is not None\n",
        replacement="        return False\n",
        shapes="limited",
    ),
    Planted(
        name="turns: the lines before the last one are not reached",
        file="romancy/storage/turns.py",
        text="            yield from self._lines(_NEXT, line, self._share)\n",
        replacement="",
        shapes="limited",
    ),
    Planted(
        name="place: a start takes one without a look at those that are taken",
        file="romancy/storage/sqlkit/rooms.py",
        text=" and (not terms.concurrency or room.taken < terms.concurrency)\n",
        replacement="\n",
        shapes="limited",
        unseen="one slice did not find it; contract/test_places_of_starts.py does",
    ),
    Planted(
        name="place: a start overtakes those that wait",
        file="romancy/storage/sqlkit/rooms.py",
        text="    if room.waits or room.heavy or room.taken >= _COUNTED:\n",
        replacement="    if room.heavy or room.taken >= _COUNTED:\n",
        shapes="limited",
        unseen="the judge counts places, and not whose turn it was; contract/test_places_of_starts.py finds it",
    ),
)
