"""Reads media types from the content type of a body. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Self

from romancy.http._refusal import not_an_event

__all__ = ["MediaType"]

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TYPE: Final = re.compile(rf"({_WORD}/{_WORD})[ \t]*(?:;(.*))?", re.DOTALL)
_CHARSET: Final = re.compile(
    rf"(?:^|;)[ \t]*charset[ \t]*=[ \t]*(?:\"({_WORD})\"|({_WORD}))[ \t]*(?=;|$)", re.IGNORECASE
)
_ENCODINGS: Final = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1"}


class MediaType(NamedTuple):
    """A media type without its parameters, in lower case, and the charset if one is given."""

    name: str
    charset: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a content type. Raises Refused if it is malformed."""
        found = _TYPE.fullmatch(text.strip(" \t"))
        if found is None:
            raise not_an_event(
                "the content type is malformed; send one like application/cloudevents+json", "ParseError"
            )
        charset = _CHARSET.search(found[2] or "")
        return cls(found[1].lower(), None if charset is None else (charset[1] or charset[2]).lower())

    @property
    def is_json(self) -> bool:
        """Whether it is JSON, or a format whose name ends in `+json`."""
        return self.name in {"application/json", "text/json"} or self.name.endswith("+json")

    @property
    def is_text(self) -> bool:
        """Whether its data is text, but not JSON."""
        return not self.is_json and (
            self.name.startswith("text/")
            or self.name in {"application/xml", "application/yaml"}
            or self.name.endswith("+xml")
        )

    @property
    def encoding(self) -> str | None:
        """Python's name of the charset; UTF-8 without one, None for one that is not supported."""
        return _ENCODINGS.get(self.charset or "utf-8")
