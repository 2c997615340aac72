"""What a workflow body can ask of limits: a place, and to give it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.core.fold.answers import PlaceAnswer
from romancy.core.run.asking import Asking
from romancy.core.words import place_events as pl
from romancy.core.words.shared_empty import NO_DICT

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PlaceCommands"]

_OF_THE_RUN = 8
"""Characters of the nonce that make the id of a place unique among the runs of an instance."""


class PlaceCommands(Asking):
    """The requests of a run about places."""

    __slots__ = ()

    def place(self, wanted: pl.PlaceAsked) -> PlaceAnswer:
        """Ask for a place as in `wanted`, whose id is made here. The future brings its id."""
        self._require_open()
        number = self._ids.number("place", wanted.limit)
        asked = self.ask(replace(wanted, id=f"{number}~{self.started.nonce[:_OF_THE_RUN]}"))
        if self.places is NO_DICT:
            self.places = {}
        answer = self.places[asked.id] = PlaceAnswer(loop=self.loop)
        answer.commands = self
        answer.id = asked.id
        return answer

    def next_of_the_whole(self, declared: Iterable[pl.PlaceAsked], last: str) -> pl.PlaceAsked | None:
        """The next place to ask for before the body begins, behind the limit `last`.

        A replay asks for those that the log holds, whatever is declared today.
        """
        if self.matcher is not None:
            return self.matcher.place_of_the_whole(last)
        return next((one for one in declared if one.limit > last), None)

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
        answer = self.places.pop(event.id)
        if not answer.done():
            answer.set_result(event.id)
