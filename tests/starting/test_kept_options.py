"""What an instance keeps of the options of its start is a field wherever a run begins, and is carried on by name."""

from __future__ import annotations

from typing import Any, Final

import pytest
from msgspec import Raw
from msgspec.structs import fields

from romancy import WorkflowContext, workflow
from romancy._start_options import KEPT, StartOptions, kept
from romancy.core import ChildStarted, WorkflowRetried, WorkflowStarted
from romancy.engine.creation import first_input

AT_THE_START: Final = {"instance_id", "delay", "at", "detached", "paused"}
"""The options that mean nothing any more once the instance is there."""
OTHERS: Final[dict[type, Any]] = {dict: {"tenant": "acme"}, int: 7, str: "words", bool: True}
"""A value other than the default, by the type of the default."""


@workflow
async def sells(ctx: WorkflowContext) -> None: ...


def test_an_option_is_kept_or_is_for_the_start_alone() -> None:
    assert {*StartOptions.__struct_fields__} == {*KEPT} | AT_THE_START


@pytest.mark.parametrize("event", [WorkflowStarted, WorkflowRetried, ChildStarted], ids=lambda event: event.__name__)
def test_what_is_kept_is_a_field_of_each_event_with_which_a_run_begins(event: type[WorkflowStarted]) -> None:
    plain = kept(StartOptions())

    assert {name: type(value) for name, value in plain.items()} == {
        one.name: type(one.default_factory() if callable(one.default_factory) else one.default)
        for one in fields(event)
        if one.name in KEPT
    }


def test_the_first_input_has_what_the_start_was_given() -> None:
    given = StartOptions(**{name: OTHERS[type(value)] for name, value in kept(StartOptions()).items()})

    assert kept(first_input(sells, Raw(b"{}"), life=1, now=1, given=given)) == kept(given)
