"""Texts for times and spans given in microseconds."""

from __future__ import annotations

from typing import Final

from romancy._microseconds import moment_of

__all__ = ["ago", "moment", "span"]

_SECOND: Final = 1_000_000
_UNITS: Final = (("d", 86_400 * _SECOND), ("h", 3_600 * _SECOND), ("min", 60 * _SECOND), ("s", _SECOND))
_PRECISE_BELOW: Final = 10 * _SECOND


def moment(microseconds: int) -> str:
    """A time in UTC, to the second: `2026-03-01 12:30:05`."""
    try:
        return moment_of(microseconds).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return "never"


def span(microseconds: int) -> str:
    """A length of time in its two largest units: `2 h 5 min`, `3.20 s`, `12 ms`."""
    length = abs(microseconds)
    if length < _SECOND:
        return f"{length // 1000} ms"
    if length < _PRECISE_BELOW:
        return f"{length / _SECOND:.2f} s"
    parts: list[str] = []
    for name, size in _UNITS:
        count, length = divmod(length, size)
        if count:
            parts.append(f"{count} {name}")
        elif parts:
            break
    return " ".join(parts[:2])


def ago(then: int, now: int) -> str:
    """A time relative to now: `3 s ago` or `in 2 h`."""
    return f"{span(now - then)} ago" if then <= now else f"in {span(then - now)}"
