"""Continues as new: one append, under the same id, ends a run and begins the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy.core import CancelChild, MessageSent, Publish, RequestAnswered, StartChild, Unsubscribed
from romancy.errors import UsageError
from romancy.status import Status
from romancy.storage.query import project_with_index
from romancy.storage.records import Change

if TYPE_CHECKING:
    from romancy.core import Activation
    from romancy.engine.instance import Live

__all__ = ["continue_as_new", "with_new_run"]

_MOST_RUNS: Final = 1000
_OUTWARD = (StartChild, CancelChild, Publish, MessageSent, RequestAnswered, Unsubscribed)


def continue_as_new(live: Live, activation: Activation) -> Activation:
    """The activation extended to the first wait of the following run. The instance continues with that run.

    Raises UsageError for a workflow whose runs wait for nothing: one append holds all of them.
    """
    events, outward = list(activation.events), [e for e in activation.effects if isinstance(e, _OUTWARD)]
    following, runs = activation, 0
    while following.successor is not None:
        runs += 1
        if runs > _MOST_RUNS:
            raise UsageError(
                f"workflow {live.definition.name} has called recur {_MOST_RUNS} times without waiting for anything: "
                "let each run await an activity, an event or ctx.sleep before it calls recur"
            )
        following = live.begin_run().activate([following.successor])
        events += following.events
        if following.successor is not None:
            outward += [effect for effect in following.effects if isinstance(effect, _OUTWARD)]
    return replace(
        following,
        events=events,
        effects=[*outward, *following.effects],
        dropped=activation.dropped,
        warnings=(*activation.warnings, *following.warnings),
    )


def with_new_run(live: Live, change: Change | None, seq: int) -> Change:
    """The change that also makes the instance's row point at the run that begins with the append at `seq`."""
    started = live.run.state.started
    assert started is not None  # noqa: S101 - the new run has just been fed its start
    raw = bytes(started.input)
    definition = live.definition
    projection, index = project_with_index(raw, definition.index, definition.signature.bare, started.headers)
    if change is None:
        change = Change(status=Status.RUNNING, seen=live.signals)
    return replace(
        change,
        run_from=seq,
        input=raw,
        projection=projection,
        index=index,
        code=definition.code,
        forgive=definition.declines is not None,  # who has declined the input before may take this one
    )
