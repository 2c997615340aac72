"""Derives from an instance's log and row what it did and what it waits for. Pure: no database, no clock.

`Timeline.of(events)` turns a log into steps with their attempts. `explain(…)` says in words why an instance does not
move. The command line prints both.
"""

from __future__ import annotations

from romancy.insight._bars import BUSY, Bar, bars
from romancy.insight._divergence import Divergence, divergence_of
from romancy.insight._explain import explain
from romancy.insight._known import Known, StillRuns, Whereabouts
from romancy.insight._numbers import many
from romancy.insight._rates import course, growing, one_holds_all, rate
from romancy.insight._requests import alive, fits, silent
from romancy.insight._suspicion import Suspects, suspects_of
from romancy.insight._time_texts import ago, moment, span
from romancy.insight._timeline import Attempt, Note, Place, Step, Timeline

__all__ = [
    "BUSY",
    "Attempt",
    "Bar",
    "Divergence",
    "Known",
    "Note",
    "Place",
    "Step",
    "StillRuns",
    "Suspects",
    "Timeline",
    "Whereabouts",
    "ago",
    "alive",
    "bars",
    "course",
    "divergence_of",
    "explain",
    "fits",
    "growing",
    "many",
    "moment",
    "one_holds_all",
    "rate",
    "silent",
    "span",
    "suspects_of",
]
