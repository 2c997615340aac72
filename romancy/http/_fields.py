"""Reads the header fields of a request strictly: where one value is expected, a second one is refused. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.http._refusal import not_an_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["Fields", "Joined", "only_one"]


class Joined(dict[str, str]):
    """Header fields by their names in lower case. Lines of one name are joined, as lists are: `1.1 a, 1.1 b`."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        super().__init__({name: ", ".join(lines) for name, lines in values.items()})
        self.repeated = frozenset(name for name, lines in values.items() if len(lines) > 1)


def only_one(headers: Mapping[str, str], name: str) -> str | None:
    """The value of a field that is no list, None without it. Raises Refused if the request has it more than once."""
    if isinstance(headers, Joined) and name in headers.repeated:
        raise not_an_event(f"the header {name} occurs more than once; send it once", "ParseError")
    return headers.get(name)


class Fields:
    """Header fields by their names in lower case."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in raw:
            self._values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip(" \t"))

    def one(self, name: str) -> str | None:
        """The value of a field, None without it. Raises Refused if the request has it more than once."""
        values = self._values.get(name, [])
        if len(values) > 1:
            raise not_an_event(f"the header {name} occurs {len(values)} times; send it once", "ParseError")
        return values[0] if values else None

    def starting(self, prefix: str) -> dict[str, str]:
        """The fields whose names start like this. Raises Refused if the request has one of them more than once."""
        return {name: self.one(name) or "" for name in self._values if name.startswith(prefix)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def joined(self) -> Joined:
        """All fields. Proxies add lines to some of them, such as `via`."""
        return Joined(self._values)
