"""Faults of windows of calls."""

from __future__ import annotations

from typing import Final

from tools.planting.planted import Planted

__all__ = ["PLANTED"]

PLANTED: Final = (
    Planted(
        name="window: what is due is fed before the mail that has come",
        file="romancy/windows/keeper.py",
        text="    keeper.mail_first = True\n",
        replacement="",
        shapes="windows",
    ),
    Planted(
        name="window: it ends by a timer that came with a message",
        file="romancy/windows/keeper.py",
        text="return alarm.received == self._received and self._ctx.now() >= self._ends",
        replacement="return self._ctx.now() >= self._ends",
        shapes="windows",
        mend=True,
    ),
)
