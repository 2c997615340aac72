"""The handles and timers of a run."""

from __future__ import annotations

from typing import Any

from romancy.core.loop.deterministic_loop import new_loop
from romancy.core.loop.handles import Timer


def test_a_cancelled_timer_ends_no_sleep() -> None:
    """The loop takes its arguments away. It stays among the timers of the run until the end of the activation."""
    loop = new_loop("an instance")
    future, other = loop.create_future(), loop.create_future()
    given: Any = (future,)
    timer = Timer(5.0, lambda *_: None, given, loop, None)
    timer.delay = 5.0
    assert [True, False] == [timer.is_sleep_of(one) for one in (future, other)]

    timer.cancel()

    assert [False, False] == [timer.is_sleep_of(one) for one in (future, other)]
