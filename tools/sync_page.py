"""What the reference says of `romancy.sync`: only how it differs from the classes with `await`.

`tools.make_reference` gives the entries of both, as it writes them. An entry that is the same but for `async` and the
names of classes is named with a link; any other one is written in full.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from tools.make_sync import LEFT_OUT, NAMES, RENAMED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Twin", "page"]

INTRODUCTION: Final = """# Reference: Sync

`romancy.sync` has the classes of Romancy for code without `await`. A method has the name, the parameters, the errors
and the promise of its twin. [Sync callers](../guide/sync-callers.md) shows how to use them.
These differences hold everywhere:

- A method that is `async def` there is a plain function here, and blocks until it has its answer.
- An `async with` is a `with`, and an `async for` is a `for`: an `AsyncIterator` is an `Iterator`.
- What gives a `Handle`, an `AppChannel` or a `Subscription` gives its twin: `SyncHandle`, `SyncChannel`,
  `SyncSubscription`.
- `session=` takes a blocking connection or session.

Below, each class names its methods that are the same, and has those that are not in full.
"""

Entries = dict[str, list[str]]
"""The lines below each heading of a class, by the name of the member; the class itself is the empty name."""


class Twin(NamedTuple):
    """A class without `await` as the reference would write it, and that of which it is the twin."""

    name: str
    lines: list[str]
    original: str
    originals: Mapping[str, list[str]]
    """Lines about the original, by the page that has them."""


def page(twins: Iterable[Twin]) -> str:
    """Return the whole page."""
    return "\n".join([INTRODUCTION, *(line for twin in twins for line in _class(twin))]).rstrip() + "\n"


def _entries(lines: Iterable[str]) -> Entries:
    found: Entries = {}
    name = ""
    for line in lines:
        heading = re.match(r"^##(#?) \w+(?:\.(\w+))?$", line)
        name = (heading[2] or "") if heading else name
        if heading is None:
            found.setdefault(name, []).append(line)
    return found


def _comparable(lines: list[str]) -> str:
    """Return the text of an entry without what differs everywhere."""
    text = " ".join("\n".join(lines).replace("async def ", "def ").replace("async with", "with").split())
    text = text.replace("an `with`", "a `with`").replace("Async", "")
    for one, other in (*RENAMED, *NAMES.items()):
        text = re.sub(rf"\b{re.escape(one)}", other, text)
    return re.sub(r"([(\[]) | ,? ([)\]])", r"\1\2", text.replace(", )", ")").replace(", ]", "]"))


def _promise(lines: list[str]) -> tuple[list[str], set[str]]:
    """Return what a class says of itself without its signature, and its attributes."""
    attributes = {line for line in lines if line.startswith("- `")}
    text = re.sub(r"```.*?```\n", "", "\n".join(line for line in lines if line not in attributes), flags=re.DOTALL)
    return text.strip().splitlines(), attributes


def _class(twin: Twin) -> Iterator[str]:
    places: dict[str, tuple[str, list[str]]] = {}
    known: set[str] = set()
    for found, text in twin.originals.items():
        entries = _entries(text)
        known |= _promise(entries.pop(""))[1]
        places |= {member: (found, lines) for member, lines in entries.items()}
    own = _entries(twin.lines)
    promise, attributes = _promise(own.pop(""))
    same = {name for name in own if name in places and _comparable(own[name]) == _comparable(places[name][1])}
    links = ", ".join(f"[`{name}`]({places[name][0]}#{twin.original.lower()}{name})" for name in sorted(same))
    whole, *_ = twin.originals
    yield from (f"## {twin.name}", "", *promise, "")
    yield from (f"The twin of [`{twin.original}`]({whole}#{twin.original.lower()}), with its attributes.", "")
    more = sorted(
        line for line in attributes - known if _comparable([line]) not in {_comparable([one]) for one in known}
    )
    yield from ([*more, ""] if more else [])
    yield from (f"As there: {links}.", "")
    missing = sorted(places.keys() - own.keys())
    if missing:
        yield from ("Not here:", "", *(f"- `{name}`: {LEFT_OUT[twin.original][name]}." for name in missing), "")
    for name in (name for name in own if name not in same):
        yield from (f"### {twin.name}.{name}", *own[name])
