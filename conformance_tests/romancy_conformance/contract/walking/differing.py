"""What differs between two answers, or two tables, field by field and no wider than a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from romancy_conformance.contract.walking.step import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["require_same", "rows_that_differ", "what_differs"]

WIDTH: Final = 80
_MOST: Final = 30
"""How many lines are printed: the first differences are usually the cause of the others."""
_BEFORE: Final = 20
"""How much of a long value is shown before the first character that differs."""


class _Nothing:
    """Stands for what one side lacks."""


_NOTHING: Final = _Nothing()


def require_same(what: str, expected: object, answer: object) -> None:
    """Raise `AssertionError` with what differs, if anything does."""
    if expected != answer:
        raise AssertionError(f"{what}:\n{what_differs(expected, answer)}")


def what_differs(expected: object, answer: object) -> str:
    """The fields in which the model's and the store's answers differ, each with both values."""
    return _page(_differences("", expected, answer))


def rows_that_differ(columns: Sequence[str], missing: Iterable[Sequence[Any]], more: Iterable[Sequence[Any]]) -> str:
    """Rows of one table that the store lacks, and those that it has instead: of two that are alike, what differs."""
    left = list(more)
    lines: list[str] = []
    for row in missing:
        likest = max(left, key=lambda other, row=row: _alike(row, other), default=None)  # type: ignore[misc]
        if likest is None or 2 * _alike(row, likest) < len(columns):
            lines += _pair(f"({row[0]})", dict(zip(columns, row, strict=True)), _NOTHING)
            continue
        left.remove(likest)
        lines.append(_cut(f"({', '.join(str(one) for one, other in zip(row, likest, strict=True) if one == other)})"))
        for column, one, other in zip(columns, row, likest, strict=True):
            lines += _differences(column, one, other)
    for row in left:
        lines += _pair(f"({row[0]})", _NOTHING, dict(zip(columns, row, strict=True)))
    return _page(iter(lines))


def _alike(row: Sequence[Any], other: Sequence[Any]) -> int:
    return sum(one == another for one, another in zip(row, other, strict=True))


def _page(lines: Iterator[str]) -> str:
    found = list(lines)
    rest = [f"    … and {len(found) - _MOST} more lines"] if len(found) > _MOST else []
    return "\n".join([*(f"    {line}" for line in found[:_MOST]), *rest])


def _differences(path: str, expected: Any, answer: Any) -> Iterator[str]:
    """Yield the lines about one place, and all places in it."""
    if expected == answer:
        return
    fields = _fields(expected)
    if fields is not None and type(expected) is type(answer):
        for field in fields:
            yield from _differences(f"{path}.{field}".lstrip("."), getattr(expected, field), getattr(answer, field))
    elif _both(dict, expected, answer):
        for key in dict.fromkeys([*expected, *answer]):
            yield from _differences(f"{path}[{key}]", expected.get(key, _NOTHING), answer.get(key, _NOTHING))
    elif _both((list, tuple), expected, answer) and fields is None:
        yield from _elements(path, expected, answer)
    else:
        yield from _pair(path or "the answer", expected, answer)


def _fields(value: Any) -> tuple[str, ...] | None:
    """The names of a record's fields; None for other values."""
    if isinstance(value, Struct):
        return value.__struct_fields__
    named: tuple[str, ...] | None = getattr(value, "_fields", None)  # of a named tuple
    return named


def _both(kinds: type | tuple[type, ...], expected: object, answer: object) -> bool:
    return isinstance(expected, kinds) and isinstance(answer, kinds)


def _elements(path: str, expected: Sequence[Any], answer: Sequence[Any]) -> Iterator[str]:
    """Yield the lines about two sequences, without what they have in common at both ends."""
    shorter = min(len(expected), len(answer))
    first = next((n for n in range(shorter) if expected[n] != answer[n]), shorter)
    same = next((n for n in range(shorter - first) if expected[-1 - n] != answer[-1 - n]), shorter - first)
    for n in range(first, max(len(expected), len(answer)) - same):
        one = expected[n] if n < len(expected) - same else _NOTHING
        other = answer[n] if n < len(answer) - same else _NOTHING
        yield from _differences(f"{path}[{n}]", one, other)


def _pair(place: str, expected: object, answer: object) -> Iterator[str]:
    """Yield the place, and both values from a little before they differ."""
    texts = ["nothing" if value is _NOTHING else shown(value) for value in (expected, answer)]
    common = next((n for n, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    yield _cut(f"{place}:")
    yield from (_cut(f"  the {who} has {text}", common) for who, text in zip(("model", "store"), texts, strict=True))


def _cut(line: str, common: int = 0) -> str:
    """The line, no longer than fits, from a little before the place where its value differs."""
    room = WIDTH - 4
    if len(line) <= room:
        return line
    if common > _BEFORE:
        head = len("  the model has ")
        line = f"{line[:head]}…{line[head + common - _BEFORE :]}"
    return line if len(line) <= room else f"{line[: room - 1]}…"
