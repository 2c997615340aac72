"""The events of places: what a run asks of a limit, gets, and gives back. The rules of `events.py` hold."""

from __future__ import annotations

from romancy.core.words.events import Command, Input

__all__ = ["PlaceAsked", "PlaceFreed", "PlaceGranted", "PlaceNotWanted", "PlaceRefused"]


class PlaceAsked(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow asks for a place under a limit, among those with the same key.

    The append that holds this event also registers the demand. At most `concurrency` places are given at a time (0: any
    number), and at most `rate` in each `period` (microseconds; 0: any number). `whole`: the body begins with the place.
    `full`: what becomes of the run if no place is free, as `Limit` has it; empty: it waits in line. `expires`: for how
    many microseconds it waits; 0: as long as it takes. The id is unique for the instance, over all its runs.
    """

    id: str
    limit: str
    key: str = ""
    concurrency: int = 0
    rate: int = 0
    period: int = 0
    whole: bool = False
    full: str = ""
    expires: int = 0
    priority: int = 0
    """That of the instance: the higher gets a place first."""
    units: int = 1
    """As how many places it counts."""
    executing: bool = False
    """Whether the run gives it back while it waits, and asks again before it goes on."""
    fair_key: str = ""
    weight: int = 1
    """Those of the instance: the keys take turns in the line."""


class PlaceGranted(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The place `id` belongs to the run, until it gives it back or ends."""

    id: str


class PlaceRefused(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """No place was free for `id`, or a later demand has taken its place in line: the run ends."""

    id: str


class PlaceNotWanted(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow no longer waits for the place, which it has not got."""

    id: str


class PlaceFreed(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow gives back a place that it has got."""

    id: str
