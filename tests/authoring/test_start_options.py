"""The value that travels from the options of a start to the first input of the instance."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from romancy import UsageError, WorkflowContext, workflow
from romancy._start_options import StartKeywords, StartOptions

GIVEN: Final[dict[str, tuple[Any, str, Any]]] = {
    "instance_id": ("mine", "instance_id", "mine"),
    "delay": (timedelta(seconds=2), "delay", 2_000_000),
    "at": (datetime(1970, 1, 2, tzinfo=UTC), "at", 86_400_000_000),
    "headers": ({"a": "b"}, "headers", {"a": "b"}),
    "timeout": (0.0000001, "limit", 1),
    "priority": (-9, "priority", -9),
    "fair_key": ("acme", "fair_key", "acme"),
    "weight": (100, "weight", 100),
    "detached": (True, "detached", True),
    "paused": (True, "paused", True),
}
"""For each option what is given, and the field and what it holds then."""
BESIDE: Final[dict[str, dict[str, Any]]] = {"weight": {"fair_key": "acme"}}
"""What has to be given with an option."""


@workflow
async def started_with(ctx: WorkflowContext) -> None: ...


@pytest.mark.parametrize("option", StartKeywords.__annotations__)
def test_an_option_of_a_start_is_in_its_value_alone(option: str) -> None:
    given, field, held = GIVEN[option]
    beside = BESIDE.get(option, {})
    wanted = StartOptions(**{field: held, **beside})

    assert started_with.options(**{option: given, **beside}).given == wanted
    assert started_with.options(**{option: given, **beside}).options(**{option: None}).given == wanted
    assert started_with.given == StartOptions()


def test_the_options_of_a_start_are_shown_by_their_names() -> None:
    assert [*inspect.signature(started_with.options).parameters] == list(GIVEN)
    untyped: Any = started_with
    with pytest.raises(UsageError, match="has no option 'dealy'; did you mean 'delay'"):
        untyped.options(dealy=5)
