"""What can handle a kind of messages is checked where it is named."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from romancy import EventType, UsageError

Add = EventType("add", str)
Stop = EventType("stop", None)


async def of_one(item: str) -> None:
    """Handle one item."""


async def of_nothing() -> None:
    """Handle a message without data."""


async def of_two(item: str, count: int) -> None:
    """Need more than the data of a message."""


def plain(item: str) -> None:
    """Handle nothing: it is no coroutine function."""


class Owner:
    """Has a method that handles one."""

    async def handle(self, item: str) -> None:
        """Handle one item."""


FITTING: list[tuple[EventType[Any], Any]] = [
    (Add, of_one), (Stop, of_nothing), (Add, Owner().handle), (Add, partial(of_two, count=1))
]  # fmt: skip
UNFIT: dict[str, tuple[EventType[Any], Any]] = {
    "the handler of event 'add' must be an `async def`, not <function plain": (Add, plain),
    "the handler of event 'add' must take one parameter, the data of the message; <handler of_nothing": (
        Add,
        of_nothing,
    ),
    "the handler of event 'add' must take one parameter, the data of the message; <handler of_two": (Add, of_two),
    "the handler of event 'stop' must take no parameter: its messages have no data; <handler of_one": (Stop, of_one),
}


@pytest.mark.parametrize(("event", "function"), FITTING)
def test_a_coroutine_function_of_the_data_handles(event: EventType[Any], function: Any) -> None:
    assert event.name in repr(event.by(function))


@pytest.mark.parametrize("said", UNFIT)
def test_what_does_not_take_the_data_is_refused(said: str) -> None:
    event, function = UNFIT[said]

    with pytest.raises(UsageError) as refused:
        event.by(function)

    assert str(refused.value).startswith(said)


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="key of the event: must be a string, not int"):
        Add.by(of_one, key=7)  # type: ignore[arg-type]
