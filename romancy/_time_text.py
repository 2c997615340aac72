"""Lengths of time as a text: `90s`, `12h`, `30d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

__all__ = ["length_of"]

_UNITS: Final = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORM: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")


def length_of(text: str) -> timedelta | None:
    """The length of time that a text says. None: it says none. Raises OverflowError if it is too long."""
    form = _FORM.fullmatch(text.strip())
    return None if form is None else timedelta(**{_UNITS[form[2]]: float(form[1])})
