"""The table of events is complete: each test names the kind that is missing somewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from romancy.core import TERMINAL
from romancy.core.fold.entries import Entries
from romancy.core.fold.kinds import COMMANDS, INPUTS, KINDS, STATUS_OF, Begins, Ends, EndsRun, Fails, Part
from romancy.core.run.commands import Commands
from romancy.core.run.outstanding import EFFECTS
from romancy.core.words.events import Command, Input, LogEvent
from romancy.engine.observed_waits import WAITS
from romancy.engine.observer import WORK, Observer
from romancy.insight._bars import LAST
from romancy.insight._timeline import RULES, STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def every(base: type[LogEvent]) -> Iterator[type[LogEvent]]:
    for kind in base.__subclasses__():
        yield kind
        yield from every(kind)


def names(kinds: Iterable[type]) -> set[str]:
    return {kind.__name__ for kind in kinds}


def of(*roles: type) -> set[str]:
    return names(kind for kind, means in KINDS.items() if isinstance(means.role, roles))


def calls(parts: Iterable[str], *roles: type[Begins | Fails | Ends]) -> set[str]:
    return names(kind for kind, means in KINDS.items() if means.part(*roles) in set(parts))


def test_every_record_of_an_event_is_in_the_table() -> None:
    assert names(every(Input)) == names(INPUTS)
    assert names(every(Command)) == names(COMMANDS)


def test_every_call_can_begin_and_end() -> None:
    parts = set(get_args(Part))

    assert parts == {means.role.part for means in KINDS.values() if isinstance(means.role, Begins)}
    assert parts == {means.role.part for means in KINDS.values() if isinstance(means.role, Ends)}
    assert parts <= set(Entries.__slots__)


def test_whatever_ends_a_call_has_an_id() -> None:
    assert not [kind.__name__ for kind, means in KINDS.items() if means.role is not None
                and not isinstance(means.role, EndsRun) and "id" not in kind.__struct_fields__]  # fmt: skip


def test_the_ends_of_a_run() -> None:
    assert names(TERMINAL) == of(EndsRun) == names(STATUS_OF)


def test_each_input_that_answers_a_call_of_the_body_resumes_it() -> None:
    """No code awaits a compensation. Its failed attempt only has no place of its own, as that of a poll."""
    answers = calls(get_args(Part), Fails, Ends) - calls(["compensations"], Fails, Ends)

    assert (answers | {"CompensationAttemptFailed"}) & names(INPUTS) == names(Commands.deliveries)


def test_the_engine_has_an_effect_for_each_command_on_which_it_acts() -> None:
    assert names(kind for kind, means in COMMANDS.items() if means.acts) == names(EFFECTS)


def test_hooks_hear_of_each_attempt_and_each_wait() -> None:
    unheard = set(get_args(Part)) - {*WORK, *WAITS}
    own = {"WorkflowStarted", "WorkflowRetried", "WorkflowResumed", "WorkflowContinued", "ProgressReported"}

    assert unheard == {"joining", "listing"}
    assert names(Observer.rules) == own | calls(WORK, Fails, Ends) | calls(WAITS, Begins, Ends)


def test_a_timeline_has_a_step_for_each_call_and_leaves_out_what_is_named_here() -> None:
    silent = {"ChildCancelRequested", "DrawsCounted", "InputDeferred", "PatchMarked"}
    silent |= {"StreamWritten", "WorkflowCaughtUp"}

    assert set(get_args(Part)) == set(STEPS)
    assert names(KINDS) - names(RULES) == silent


def test_a_bar_knows_each_end_of_an_attempt() -> None:
    ends = {means.role.outcome for means in KINDS.values() if isinstance(means.role, Ends) and means.role.part in WORK}

    assert ends == set(LAST)
