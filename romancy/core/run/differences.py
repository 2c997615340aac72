"""Names what differs between a recorded command and one of the same name that the code asks for now.

The values are those of payloads, cut to a length. Where codecs seal payloads, the lines are not stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import Raw, Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from romancy.core.words import events as ev
    from romancy.core.words.messages import Topic

__all__ = ["called", "differences", "without_values"]

_MOST: Final = 3
_LONGEST: Final = 60
_BEGIN: Final = "differs: "
_NOT_COMPARED: Final = ("at", "code", "headers", "source", "sender")
_WORDS: Final = {"args": "argument", "when": "time"}
_NOTHING: Final = object()


def differences(recorded: Sequence[ev.Command], asked: Sequence[ev.Command]) -> list[str]:
    """A line for each of the first commands of the same name that differ."""
    left, lines = list(recorded), list[str]()
    for command in asked:
        same = next((each for each in left if called(each) == called(command)), None)
        if same is None:
            continue
        left.remove(same)
        lines += [f"{_BEGIN}{_name(command)}, {found}" for found in _between(same, command)]
    return [*lines[:_MOST], *([f"{_BEGIN}{len(lines) - _MOST} more"] if len(lines) > _MOST else [])]


def without_values(text: str) -> str:
    """The text without the lines that hold parts of payloads."""
    return "\n".join(line for line in text.split("\n") if not line.lstrip().startswith(_BEGIN))


def called(command: ev.Command) -> tuple[type, object]:
    """The kind of a command and what it names: an activity, a workflow, the topic of a message."""
    return type(command), getattr(command, "name", None) or getattr(command, "workflow", None) or _topic_of(command)


def _topic_of(command: Any) -> Topic | None:
    about: Topic | None = getattr(getattr(command, "message", command), "topic", None)
    return about


def _name(command: Any) -> str:
    for field in ("id", "name"):
        if isinstance(found := getattr(command, field, None), str):
            return found
    if (topic := _topic_of(command)) is not None:
        return topic.name
    return "end of the run"


def _between(recorded: Any, asked: Any) -> Iterator[str]:
    """What differs. Ids count only if nothing else does: they follow from the order of the calls."""
    fields = cast("tuple[str, ...]", asked.__struct_fields__)
    found = {name: (getattr(recorded, name), getattr(asked, name)) for name in fields if name not in _NOT_COMPARED}
    differing = {name: pair for name, pair in found.items() if not _same(*pair)}
    if differing.keys() != {"id"}:
        differing.pop("id", None)
    for name, (before, now) in differing.items():
        if isinstance(now, Struct) and type(before) is type(now):
            yield from _between(before, now)  # a message says what differs, not that it does
        else:
            yield _told(_WORDS.get(name, name), before, now)


def _same(before: object, now: object) -> bool:
    if isinstance(before, Raw) and isinstance(now, Raw):
        return before == now or bool(msgspec.json.decode(before) == msgspec.json.decode(now))
    return bool(before == now)


def _told(what: str, before: object, now: object) -> str:
    path: list[str] = []
    if isinstance(before, Raw) and isinstance(now, Raw):
        before, now = _first(msgspec.json.decode(before), msgspec.json.decode(now), path)
    where = f"{what} {''.join(path).lstrip('.')}".rstrip()
    old, new = _text(before), _text(now)
    begin = _where_they_part(old, new)
    return f"{where}: {_cut(old, begin)} in the log, {_cut(new, begin)} now"


def _first(before: object, now: object, path: list[str]) -> tuple[object, object]:
    """The first part of two JSON values that differs. Adds the steps to it to the path."""
    parts: tuple[object, object] = before, now
    pairs: Iterator[tuple[str, object, object]] = iter(())
    if isinstance(before, dict) and isinstance(now, dict):
        old, new = cast("dict[str, object]", before), cast("dict[str, object]", now)
        pairs = ((f".{key}", old.get(key, _NOTHING), new.get(key, _NOTHING)) for key in [*old, *new])
    elif isinstance(before, list) and isinstance(now, list):
        olds, news = cast("list[object]", before), cast("list[object]", now)
        if len(olds) == len(news):
            both = enumerate(zip(olds, news, strict=True))
            pairs = ((f"[{index}]", one, other) for index, (one, other) in both)
    for step, one, other in pairs:
        if one != other:
            path.append(step)
            return _first(one, other, path)
    return parts


def _text(value: object) -> str:
    return "nothing" if value is _NOTHING else msgspec.json.encode(value).decode("utf-8", "replace")


def _where_they_part(one: str, other: str) -> int:
    """From where to show two long texts, so that the first difference is among what is shown."""
    pairs = enumerate(zip(one, other, strict=False))
    part = next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
    return 0 if part < _LONGEST // 2 else part - _LONGEST // 4


def _cut(text: str, begin: int) -> str:
    if len(text) <= _LONGEST:
        return text
    before, after = "…" if begin else "", "…" if len(text) > begin + _LONGEST else ""
    return f"{before}{text[begin : begin + _LONGEST]}{after}"
