"""The database's time as a worker estimates it between two answers."""

from __future__ import annotations

from romancy.engine.clock import DatabaseClock


class Ticks:
    """The machine's own clock, in nanoseconds."""

    at = 0

    def __call__(self) -> int:
        return self.at


def test_it_goes_on_from_what_the_database_said() -> None:
    ticks = Ticks()
    clock = DatabaseClock(ticks)
    clock.observe(1_000_000)
    ticks.at = 500_000_000

    assert (clock.now(), clock.seconds_until(3_500_000)) == (1_500_000, 2.0)


def test_it_follows_a_database_whose_clock_is_put_back_but_marks_stay_in_order() -> None:
    ticks = Ticks()
    clock = DatabaseClock(ticks)
    clock.observe(9_000_000)
    marks = [clock.mark()]
    clock.observe(5_000_000)
    ticks.at = 10_000
    marks.append(clock.mark())

    assert clock.now() == 5_000_010
    assert marks == [9_000_000, 9_000_000]
