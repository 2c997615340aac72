"""Places in a log as URLs hold them: `12.3` is event 3 of commit 12, `12` is all of commit 12."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from romancy.insight import Place

__all__ = ["WHOLE", "parse", "text"]

WHOLE: Final = -1
"""Instead of an event's number: all events of the commit."""
_FORM: Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?", re.ASCII)


def parse(given: str) -> Place | None:
    """A place out of a URL. None if it is none."""
    found = _FORM.fullmatch(given)
    if found is None:
        return None
    seq, event = found.groups()
    return int(seq), WHOLE if event is None else int(event)


def text(place: Place) -> str:
    """A place for a URL and for people."""
    seq, event = place
    return f"{seq}" if event == WHOLE else f"{seq}.{event}"
