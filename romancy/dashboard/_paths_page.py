"""Completion for conditions on the input: the paths that exist, from a bounded sample of the newest instances."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import msgspec

from romancy.dashboard._pages import render
from romancy.dashboard._search import Search
from romancy.serialization import is_sealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._reader import Reader

__all__ = ["declared_paths", "paths_in", "paths_page", "sampled_paths"]

_SAMPLE: Final = 200
_LARGEST: Final = 64 * 1024
"""Inputs with more bytes than this are skipped."""
_DEEPEST: Final = 8
_MOST: Final = 300
_EACH: Final = 200
_NAME: Final = re.compile(r"[\w-]+")
_NUMBER: Final = re.compile(r"-?\d+")
_INDEX: Final = re.compile(r"0|[1-9][0-9]*")
_OPERATORS: Final = frozenset("=!<>^*")
_KINDS: Final[dict[type, str]] = {
    str: "text",
    bool: "true or false",
    int: "number",
    float: "number",
    type(None): "null",
}


async def paths_page(request: Request, reader: Reader) -> Response:
    """The options of the list: declared paths first, then those of the sample. Sealed inputs are skipped."""
    search = Search.of(request.query_params.multi_items())._replace(where=(), header=(), page="")
    declared = dict.fromkeys(declared_paths(reader, search), "indexed")
    sampled = await sampled_paths(reader, search)
    return render(request, "_paths.html", paths={**declared, **sampled, **declared})


def declared_paths(reader: Reader, search: Search) -> list[str]:
    """The paths that the app's workflows of this search have declared."""
    if reader.app is None:
        return []
    workflows = reader.app.workflows.items()
    return list(dict.fromkeys(path for name, one in workflows if search.workflow in name for path in one.index))


async def sampled_paths(reader: Reader, search: Search) -> dict[str, str]:
    """The paths in the inputs of the newest instances of this search, each with the kind of a value there."""
    page = await reader.lists.store.services.reading.find(search.query(_SAMPLE))
    return paths_in(row.input for row in page.rows if len(row.input) <= _LARGEST and not is_sealed(row.input, "input"))


def paths_in(inputs: Iterable[bytes]) -> dict[str, str]:
    """The paths to values in these inputs, in alphabetical order, each with the kind of a value there."""
    found: dict[str, str] = {}
    for raw in inputs:
        try:
            value: Any = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            continue
        for number, (path, leaf) in enumerate(_leaves(value, "", 0)):
            if number == _EACH or len(found) >= _MOST:
                break
            found.setdefault(path, _KINDS[type(leaf)])
    return dict(sorted(found.items()))


def _leaves(value: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    """The values inside, with their paths. Of an array, the first one."""
    if _is_object(value):
        members = value
    elif _is_array(value):
        members = {str(number): one for number, one in enumerate(value[:1])}
    else:
        if path:
            yield path, value
        return
    for name, inner in members.items() if depth < _DEEPEST else ():
        step = _step(name)
        if step is not None:
            yield from _leaves(inner, path + (f".{step}" if path and step[0] != "[" else step), depth + 1)


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _step(name: str) -> str | None:
    """The name as written in a path; None if no condition can be written with it."""
    if _OPERATORS & set(name) or len(name) > 100:  # noqa: PLR2004 - no one wants to read it
        return None
    if _NAME.fullmatch(name) and (not _NUMBER.fullmatch(name) or _INDEX.fullmatch(name)):
        return name
    return f"[{json.dumps(name, ensure_ascii=False)}]" if name.isprintable() else None
