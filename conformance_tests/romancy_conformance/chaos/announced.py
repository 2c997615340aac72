"""Compares what the relays sent with what the programs have published for the outside."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from romancy_conformance.chaos.messaging import receiver_of
from romancy_conformance.chaos.posting import UNSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from romancy_conformance.chaos.oracle import Expected
    from romancy_conformance.chaos.relaying import Arrival

__all__ = ["judge_arrivals"]


def judge_arrivals(
    expected: Mapping[str, Expected], came: Iterable[Arrival], find: Callable[[str, str, str], None]
) -> None:
    """Check that each event came, that none came that was not published, and that each key kept its order.

    What comes again has its former id, and only the first arrival of an id counts.
    """
    first: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for each in came:
        before = first[each.key].setdefault(each.id, each.number)
        if before != each.number:
            find("wrong", receiver_of(each.key), f"event {each.id} is {before} and {each.number}")
    right = {key: numbers for one in expected.values() for key, numbers in one.announced.items()}
    for key in sorted(right.keys() | first.keys()):
        there, must = list(first[key].values()), right.get(key, [])
        if there == must:
            continue
        missing = [number for number in must if number not in there]
        doubled = sorted({number for number in there if there.count(number) > 1})
        strange = [number for number in there if number not in must or number == UNSENT]
        found = {"lost": missing, "doubled": doubled, "phantom": strange}
        for kind, numbers in found.items():
            if numbers:
                find(kind, receiver_of(key), f"events {numbers} of key {key}")
        if not any(found.values()):
            find("order", receiver_of(key), f"events of key {key} came as {there}")
