"""The value that travels from the declaration of an activity over its calls to the engine."""

from __future__ import annotations

import inspect
from typing import Any, Final

import pytest
from msgspec.structs import replace

from romancy import Limit, RetryPolicy, UsageError, _call_options, activity
from romancy._call_options import ActivityOptions, CallKeywords, DeclaredKeywords
from romancy.declaring.undo import UndoByActivity

OTHERWISE: Final[dict[str, Any]] = {
    "name": "another", "retry": RetryPolicy.none(), "timeout": 5, "heartbeat_timeout": 5, "executor": "process",
    "transactional": False, "raises": [OSError], "pass_context": True, "compensate": "attempted", "commit": "lazy",
    "at_most_once": True, "limits": [Limit("calls", concurrency=1)], "id": "mine",
}  # fmt: skip
"""For each option a value that is not its default."""


def work(item: str) -> str:
    return item


@pytest.mark.parametrize("option", [name for name in DeclaredKeywords.__annotations__ if name != "name"])
def test_a_declared_option_is_in_the_value(option: str) -> None:
    declared = ActivityOptions.declared({option: OTHERWISE[option]}, "work", "@activity on work")  # type: ignore[misc]

    assert declared != ActivityOptions()
    assert getattr(declared, option) == (tuple(OTHERWISE[option]) if option == "raises" else OTHERWISE[option])


@pytest.mark.parametrize("option", CallKeywords.__annotations__)
def test_an_option_of_a_call_is_in_its_value_alone(option: str) -> None:
    declared = activity(work)
    called = declared.options(**{option: OTHERWISE[option]})

    assert getattr(called.given, option) == OTHERWISE[option]
    assert called.given == replace(ActivityOptions(), **{option: OTHERWISE[option]})
    assert declared.given is declared.declared is called.declared
    assert called.options(**{option: None}).given == called.given


@pytest.mark.parametrize("option", ActivityOptions.__struct_fields__)
def test_only_an_option_that_is_said_to_change_nothing_there_keeps_the_fast_path(option: str) -> None:
    around: set[str] = vars(_call_options)["_AROUND"]
    given = replace(ActivityOptions(), **{option: OTHERWISE.get(option)})

    assert given.is_plain is (option in around)


def test_the_fast_path_is_that_of_an_attempt_without_limits() -> None:
    assert activity(work).given.is_plain
    assert not activity(work).options(timeout=5).given.is_plain
    assert not activity(timeout=5)(work).options(id="mine").given.is_plain
    assert activity(at_most_once=True)(work).options(retry=RetryPolicy.none()).given.is_plain


def test_an_activity_as_an_undo_has_what_an_undo_has() -> None:
    declared = activity(retry=RetryPolicy.none(), timeout=5, transactional=False, raises=[OSError], commit="lazy")(work)

    assert UndoByActivity(declared.options(timeout=9)).given == ActivityOptions(
        retry=RetryPolicy.none(), timeout=9, transactional=False
    )


def test_the_options_of_a_call_are_shown_by_their_names() -> None:
    parameters = inspect.signature(activity(work).options).parameters

    assert [*parameters] == [*CallKeywords.__annotations__] == ["id", "retry", "timeout"]
    untyped: Any = activity(work)
    with pytest.raises(UsageError, match="has no option 'identity'; its options are id, retry, timeout"):
        untyped.options(identity="mine")
