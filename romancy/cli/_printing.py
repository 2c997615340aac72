"""Output: data on stdout as columns or JSON Lines, messages on stderr. Fields of JSON are only ever added."""

from __future__ import annotations

import codecs
import io
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from romancy._microseconds import moment_of
from romancy.errors import CodecError
from romancy.managing.lists import headers_of_instance, result_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from romancy.instance import Instance

__all__ = [
    "accept_every_character",
    "as_json",
    "clean",
    "columns",
    "data_of",
    "json_option",
    "line",
    "paragraphs",
    "say",
    "table",
    "time_of",
    "wrapped",
]

_GAP: Final = 2
_LEAST: Final = 8
_MUCH: Final = 10_000
_ENDLESS: Final = 1 << 40
_ESCAPED: Final = "romancy.escaped"

json_option = click.option("--json", "json_lines", is_flag=True, help="JSON Lines; fields are only ever added.")


def accept_every_character() -> None:
    """Let stdout and stderr print what their encoding lacks, as JSON escapes it: so JSON keeps its meaning."""
    codecs.register_error(_ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)), error.end


def say(text: str) -> None:
    """Print a message for the user: on stderr, so that it never mixes with data."""
    click.echo(text, err=True)


def line(text: str = "") -> None:
    """Print a line of data."""
    click.echo(clean(text))


def as_json(record: dict[str, Any]) -> None:
    """A record of data, as one line."""
    click.echo(msgspec.json.encode(record).decode())


def time_of(microseconds: int | None) -> datetime | None:
    """A time of the database in a record, where all times are texts in ISO 8601."""
    return None if microseconds is None else moment_of(microseconds)


def clean(text: str) -> str:
    """The text without control characters for a terminal: payloads and errors are not trusted."""
    return "".join(one if one.isprintable() else _shown(one) for one in text)


def _shown(character: str) -> str:
    return " " if character in "\n\t" else character.encode("unicode_escape", "backslashreplace").decode()


def columns() -> int:
    """How wide a line may be: as wide as the terminal, or as COLUMNS says. Text for another program is not broken."""
    if os.environ.get("COLUMNS") or _is_terminal():
        return shutil.get_terminal_size((80, 24)).columns
    return _ENDLESS


def _is_terminal() -> bool:
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):
        return False


def wrapped(text: str, indent: str = "", hanging: int = 2) -> str:
    """Text in lines that fit, broken between words. Long text is cut: breaking a long word takes quadratic time."""
    shown, rest = clean(text), indent + " " * hanging
    if columns() == _ENDLESS:
        return indent + shown
    if len(shown) <= _MUCH:
        return click.wrap_text(shown, columns(), initial_indent=indent, subsequent_indent=rest)
    first, room = columns() - len(indent), max(columns() - len(rest), _LEAST)
    cuts = range(first, len(shown), room)
    return "\n".join([indent + shown[:first], *(rest + shown[cut : cut + room] for cut in cuts)])


def paragraphs(text: str) -> Iterator[str]:
    """The lines of a text, broken to fit. Lines after the first are indented."""
    first, *others = text.split("\n")
    yield wrapped(first)
    for other in filter(str.strip, others):
        words = other.lstrip(" ")
        yield wrapped(words, " " * max(len(other) - len(words), 2))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns that fit the width; the last one is cut, the others are as wide as they need to be."""
    lines = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(head, *lines, strict=True)][:-1]
    room = max(columns() - sum(widths) - _GAP * len(widths), _LEAST)
    for row in (head, *lines):
        *first, last = row
        cells = [cell.ljust(width + _GAP) for cell, width in zip(first, widths, strict=True)]
        shown = last if len(last) <= room else last[: room - 1] + "…"
        click.echo("".join([*cells, shown]).rstrip())


def data_of(instance: Instance, *, result: bool = False) -> dict[str, Any]:
    """An instance as a record, with its headers and perhaps its result if they were read with it."""
    return {
        "instance_id": instance.instance_id,
        "workflow": instance.workflow_name,
        "status": str(instance.status),
        "created_at": instance.created_at,
        "updated_at": instance.updated_at,
        "wakes_at": instance.wakes_at,
        "parent_id": instance.parent_id,
        "priority": instance.priority,
        "error": instance.error,
        **_input_of(instance),
        **headers_of_instance(instance),
        **(result_of(instance) if result else {}),
    }


def _input_of(instance: Instance) -> dict[str, Any]:
    try:
        return {"input": instance.input}
    except CodecError:
        return {"input": None, "input_sealed": True}
