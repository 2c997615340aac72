"""Queues that grow, a worker that holds nearly everything, and rates and courses as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.insight._numbers import many

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from romancy.rates import Rates, WorkflowRates

__all__ = ["course", "growing", "one_holds_all", "rate"]

_ENOUGH: Final = 100
"""Fewer instances that wait for a worker are no queue to warn of."""
_FASTER: Final = 1.2
"""A queue grows if so many times as many begin as end."""
_SHARE: Final = 0.9
_LEAST_HELD: Final = 20
_TENS, _HUNDREDS = 10, 100
_LEAST: Final = 0.01
_BARS: Final = "▁▂▃▄▅▆▇█"


def rate(number: float) -> str:
    """How many in a minute, in few characters: `0`, `<0.01`, `0.25`, `12.5`, `1,234`."""
    if 0 < number < _LEAST:
        return f"<{_LEAST}"
    digits = 2 if number < _TENS else 1 if number < _HUNDREDS else 0
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def course(workflow: WorkflowRates) -> str:
    """How many were open at the end of each span, as a line of bars. `·`: not known."""
    known = [each.open for each in workflow.over_time if each.open is not None]
    highest = max(known, default=0) or 1
    return "".join(
        "·" if one.open is None else _BARS[(one.open * 7 + highest - 1) // highest] for one in workflow.over_time
    )


def growing(rates: Rates) -> list[str]:
    """A sentence for each workflow of which many wait for a worker, and more begin than end."""
    found: list[str] = []
    for each in rates.workflows:
        if each.due >= _ENOUGH and each.begun > each.ended * _FASTER:
            more = "+" if each.more else ""
            found.append(
                f"{each.workflow_name}: {rate(each.begun)} begin and {rate(each.ended)} end in a minute; of "
                f"{each.open:,}{more} that are open, {each.due:,}{more} wait for a worker"
            )
    return found


def one_holds_all(loads: Mapping[str, int], names: Sequence[tuple[str, str]]) -> str:
    """That one of several live workers holds nearly everything. Empty: it is not so.

    `names` are the tokens and the names of the live workers.
    """
    total = sum(loads.get(token, 0) for token, _ in names)
    if len(names) <= 1 or total < _LEAST_HELD:
        return ""
    most, name = max((loads.get(token, 0), name) for token, name in names)
    if most < total * _SHARE:
        return ""
    return f"{name} holds {most:,} of {many(total, 'instance')} of {len(names)} live workers"
