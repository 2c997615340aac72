"""The form of a line of the truth table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from romancy.storage.query import FilterValue


__all__ = ["Case", "by_filters", "by_value"]


class Case(NamedTuple):
    """One line of the truth table. Its name is unique, and stable while lines are only added at the end of a group."""

    name: str
    document: bytes
    filters: Mapping[str, FilterValue]
    expected: bool


def by_filters(
    group: str, document: str, finds: Sequence[Mapping[str, FilterValue]], skips: Sequence[Mapping[str, FilterValue]]
) -> Iterator[Case]:
    raw = document.encode()
    for number, filters in enumerate(finds, 1):
        yield Case(f"{group} +{number}", raw, filters, expected=True)
    for number, filters in enumerate(skips, 1):
        yield Case(f"{group} -{number}", raw, filters, expected=False)


def by_value(group: str, value: str, finds: Sequence[FilterValue], skips: Sequence[FilterValue]) -> Iterator[Case]:
    """Return filters on `v` in a document that has this JSON text there."""
    yield from by_filters(
        f"{group} {value if len(value) <= 40 else value[:40] + '…'}",
        f'{{"other":"pending","v":{value}}}',
        [{"v": wanted} for wanted in finds],
        [{"v": wanted} for wanted in skips],
    )
