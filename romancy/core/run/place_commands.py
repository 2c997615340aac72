"""What a workflow body can ask of limits: a place, and to give it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy.core.fold.answers import PlaceAnswer
from romancy.core.run.asking import Asking
from romancy.core.words import place_events as pl
from romancy.core.words.events import CancelRequested
from romancy.core.words.shared_empty import NO_DICT
from romancy.errors import UsageError
from romancy.limit import Wanted, turn_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.core.words.events import Input
    from romancy.limit import Turn

__all__ = ["PlaceCommands", "Skipped"]

_OF_THE_RUN = 8
"""Characters of the nonce that make the id of a place unique among the runs of an instance."""


_TERMS: Final = 5
"""Of a wanted place: which it is, and what the limit allows."""


class Skipped(Exception):  # noqa: N818 - no fault
    """There is no place for the run, and it does not wait: it ends as cancelled."""


def _refusal(wanted: Wanted) -> str:
    lane = f"limit {wanted.limit!r}" + (f" with the key {wanted.key!r}" if wanted.key else "")
    if wanted.full in ("replace_queued", "cancel_running"):
        return f"another start has taken its place in line at {lane}"
    return f"skipped: no place was free at {lane}"


class PlaceCommands(Asking):
    """The requests of a run about places."""

    __slots__ = ()

    def place(self, wanted: Wanted, *, whole: bool = False) -> PlaceAnswer:
        """Ask for a place. The future brings its id. `whole`: the body begins with it."""
        self._require_open()
        self._refuse_what_the_run_has(wanted)
        id = self._new_id(wanted.limit, wanted.units)
        started, units, executing = self.started, wanted.units, wanted.executing
        turns = (started.fair_key, started.weight)
        asked = self.ask(
            pl.PlaceAsked(
                id, *wanted[:_TERMS], whole, wanted.full, wanted.expires, started.priority, units, executing, *turns
            )
        )
        if self.places is NO_DICT:
            self.places = {}
        answer = self.places[asked.id] = PlaceAnswer(loop=self.loop)
        answer.commands = self
        answer.id = asked.id
        answer.refusal = _refusal(wanted)
        answer.expires = asked.expires
        return answer

    def _new_id(self, limit: str, units: int) -> str:
        """The id of the next place. The database tells from it which places count as several."""
        id = f"{self._ids.number('place', limit)}~{self.started.nonce[:_OF_THE_RUN]}"
        return f"{id}#{units}" if units > 1 else id

    def has_for_the_whole(self, limit: str, key: str) -> bool:
        """Whether the run has a place of this lane until it ends, so that it would wait for itself there."""
        held = self.state.held.values()
        return any(one.whole and not one.executing and (one.limit, one.key) == (limit, key) for one in held)

    def _refuse_what_the_run_has(self, wanted: Wanted) -> None:
        lane = (wanted.limit, wanted.key)
        if any(one.whole and (one.limit, one.key) == lane for one in self.state.held.values()):
            raise UsageError(
                f"limit {wanted.limit!r}: the workflow has a place there until it ends, and would wait for itself; "
                "give the inner one a limit of another name"
            )

    def next_of_the_whole(self, declared: Iterable[Wanted], last: Turn) -> Wanted | None:
        """The next place to ask for before the body begins, behind the turn `last`.

        A replay asks for those that the log holds, whatever is declared today.
        """
        if self.matcher is None:
            return next((one for one in declared if turn_of(one.limit, executing=one.executing) > last), None)
        asked = self.matcher.place_of_the_whole(last)
        if asked is None:
            return None
        return Wanted(
            asked.limit, asked.key, asked.concurrency, asked.rate, asked.period, asked.full, asked.expires, asked.units,
            asked.executing,
        )  # fmt: skip

    def free(self, place_id: str) -> None:
        """Give back a place, if the run has not ended: its end gives all of them back.

        An activity that was asked to stop may still be at work. The place is given back when that has ended.
        """
        if self.loop.dead or self.over or place_id not in self.state.held:
            return
        stopping = {id for id, call in self.state.activities.items() if call.cancel_requested}
        if not stopping:
            self.ask(pl.PlaceFreed(place_id))
            return
        if self.freeing is NO_DICT:
            self.freeing = {}
        self.freeing[place_id] = stopping

    def free_behind(self, activity_id: str) -> None:
        """Give back the places that have waited for the end of this activity alone."""
        for place_id, stopping in list(self.freeing.items()):
            stopping.discard(activity_id)
            if not stopping:
                del self.freeing[place_id]
                if not self.over:
                    self.ask(pl.PlaceFreed(place_id))

    def drop_place(self, answer: PlaceAnswer) -> None:
        """Wait no more for a place."""
        if answer.id in self.state.places:
            del self.places[answer.id]
            self.ask(pl.PlaceNotWanted(answer.id))

    def place_granted(self, event: pl.PlaceGranted) -> None:
        """Tell the code that waits for it."""
        answer = self.places.pop(event.id, None)
        if answer is not None and not answer.done():
            answer.set_result(event.id)

    def rest(self) -> None:
        """Give back the places that the run has only while it executes, if it does nothing but wait."""
        state = self.state
        busy = state.activities or state.remembered or state.joining or state.listing or state.compensations
        if busy or self.over or not self.inside or state.cancel is not None or state.terminal is not None:
            return
        self.resting = tuple(sorted((one for one in state.held.values() if one.executing), key=lambda one: one.limit))
        for one in reversed(self.resting):
            self.ask(pl.PlaceFreed(one.id))

    def regain_as_fork(self) -> None:
        """The places belong to the instance from which this one was forked. Get them before it goes on."""
        held, self.state.held = self.state.held, NO_DICT
        again = {(one.limit, one.key, one.executing): one for one in (*self.resting, *held.values())}
        self.resting = tuple(sorted(again.values(), key=lambda one: turn_of(one.limit, executing=one.executing)))
        self.regaining = ""

    def may_go_on(self, event: Input) -> bool:
        """Whether the run, which rests, has all its places again with this input. It asks for the next one if not.

        A run that is asked to stop goes on without: what is undone needs no place.
        """
        if type(event) is CancelRequested:
            self.resting = ()
            return True
        if type(event) is pl.PlaceGranted and event.id == self.regaining:
            self.resting, self.regaining = self.resting[1:], ""
        if self.resting and not self.regaining:
            again = self.resting[0]
            id = self._new_id(again.limit, again.units)
            self.regaining = self.ask(replace(again, id=id, full="", expires=0)).id
        return not self.resting

    def give_up_regaining(self) -> None:
        """Wait no more for a place without which the run goes on."""
        self.ask(pl.PlaceNotWanted(self.regaining))
        self.regaining = ""

    def place_refused(self, event: pl.PlaceRefused) -> None:
        """Tell the code that waits for it, so that the run ends."""
        answer = self.places.pop(event.id)
        if not answer.done():
            answer.set_exception(Skipped(answer.refusal))
