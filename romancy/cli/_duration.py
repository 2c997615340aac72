"""Lengths of time as they are typed in a shell: `90s`, `12h`, `30d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

import click

__all__ = ["DURATION"]

_UNITS: Final = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORM: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        form = _FORM.fullmatch(str(value).strip())
        if form is None:
            self.fail(f"{value!r} is no length of time; give a number and s, min, h, d or w, as in 30d", param, ctx)
        try:
            return timedelta(**{_UNITS[form[2]]: float(form[1])})
        except OverflowError:
            self.fail(f"{value!r} is too long", param, ctx)


DURATION: Final = _Duration()
