"""All shapes by their names, and the workflows of their two apps."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from romancy_conformance.chaos.shapes.asked import Requested
from romancy_conformance.chaos.shapes.changed import OLD_CODE, Changed
from romancy_conformance.chaos.shapes.entities import Entities
from romancy_conformance.chaos.shapes.heavy import Heavy
from romancy_conformance.chaos.shapes.limited import Limited
from romancy_conformance.chaos.shapes.listening import Listening
from romancy_conformance.chaos.shapes.paused import Paused
from romancy_conformance.chaos.shapes.purged import Purged
from romancy_conformance.chaos.shapes.questions import Questions
from romancy_conformance.chaos.shapes.retained import Retained
from romancy_conformance.chaos.shapes.retried import Retried
from romancy_conformance.chaos.shapes.rewound import Rewound
from romancy_conformance.chaos.shapes.scheduled import Scheduled
from romancy_conformance.chaos.shapes.small import Small
from romancy_conformance.chaos.shapes.stopped import Stopped
from romancy_conformance.chaos.shapes.streams import Streams
from romancy_conformance.chaos.shapes.told import Told
from romancy_conformance.chaos.shapes.windows import Windows

if TYPE_CHECKING:
    from romancy import Workflow
    from romancy_conformance.chaos.shapes.shape import Shape

__all__ = ["OF_ALL_RUNS", "REMOVING", "SCHEDULED", "SHAPES", "drawn", "workflows_of"]

_PURGES: Final = 0.3
"""The share of rounds with all shapes in which ids are purged."""
_SCHEDULES: Final = 0.3
"""The share of rounds with all shapes in which there are schedules."""

_ALL: tuple[Shape, ...] = (
    *(Stopped(how) for how in ("cancel", "terminate", "limit", "deadline", "sibling", "gather")),
    Retried(),
    Told(sealed=False),
    Told(sealed=True),
    Heavy(sealed=False),
    Heavy(sealed=True),
    Changed(),
    Small(),
    Limited(),
    Listening(sealed=False),
    Listening(sealed=True),
    Requested(),
    Entities(),
    Paused(),
    Rewound(),
    Questions(),
    Streams(),
    Purged(),
    Retained(),
    Scheduled(sealed=False),
    Scheduled(sealed=True),
    Windows(sealed=False),
    Windows(sealed=True),
)
SHAPES: dict[str, Shape] = {each.name: each for each in _ALL}
SCHEDULED: Final = frozenset(name for name, each in SHAPES.items() if isinstance(each, (Scheduled, Windows)))
"""Those that begin schedules, or windows."""
OF_ALL_RUNS: Final = frozenset({Requested.name, Entities.name, Questions.name, Rewound.name, Streams.name})
"""Those that look for something in the logs of finished runs."""
REMOVING: Final = frozenset({Purged.name, Retained.name})
"""Those whose instances are removed."""


def drawn(seed: str, shapes: frozenset[str], without: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return which of these shapes a round plays, and what its programs are without.

    A purge also removes rows of finished runs, of any instance, and so does a schedule or a window that begins anew.
    The judge needs those of programs that recur, and some shapes read them. So either ids are purged, or there are
    schedules, or programs recur.
    """
    if shapes - SCHEDULED and random.Random(f"schedules {seed}").random() >= _SCHEDULES:
        shapes -= SCHEDULED
    if shapes & SCHEDULED:
        without |= {"recur"}
        shapes -= OF_ALL_RUNS
    if not shapes & REMOVING or "recur" in without:
        return (shapes - OF_ALL_RUNS if shapes & REMOVING else shapes), without
    if shapes <= REMOVING or random.Random(f"purges {seed}").random() < _PURGES:
        return shapes - OF_ALL_RUNS, without | {"recur"}
    return shapes - REMOVING, without


def workflows_of(*, sealed: bool, old: bool = False) -> tuple[Workflow[..., Any], ...]:
    """Return the workflows of the app that seals, or of the other one; `old`: as before the rolling deploy."""
    found = dict.fromkeys(one for each in _ALL if each.sealed is sealed for one in each.workflows)
    return tuple(OLD_CODE.get(one, one) if old else one for one in found)
