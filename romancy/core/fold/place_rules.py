"""Applies the events of places to the state of a run: those that it waits for, and those that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core.words.shared_empty import NO_DICT

if TYPE_CHECKING:
    from romancy.core.fold.entries import Entries
    from romancy.core.words import place_events as pl


def asked(state: Entries, event: pl.PlaceAsked) -> None:
    if state.places is NO_DICT:
        state.places = {}
    state.places[event.id] = event


def granted(state: Entries, event: pl.PlaceGranted) -> None:
    if state.held is NO_DICT:
        state.held = {}
    state.held[event.id] = state.places.pop(event.id)
    state.heard(event)


def refused(state: Entries, event: pl.PlaceRefused) -> None:
    del state.places[event.id]
    state.heard(event)


def not_wanted(state: Entries, event: pl.PlaceNotWanted) -> None:
    del state.places[event.id]


def freed(state: Entries, event: pl.PlaceFreed) -> None:
    del state.held[event.id]
