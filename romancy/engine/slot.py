"""The states of a loaded instance's append slot: an instance has at most one append under way."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["FREE", "GATHERING", "GONE", "TAKEN", "Slot"]


class Slot(Enum):
    """The state of an instance's append slot."""

    FREE = "free"
    """No append is under way. The next input leads to one."""
    GATHERING = "gathering"
    """Results of lazy activities are held back. The next append begins with them, and may follow at any time."""
    TAKEN = "taken"
    """An append or a session's commit is in flight, or its effects are being carried out. Inputs wait."""
    GONE = "gone"
    """This worker no longer owns the instance, and appends nothing to its log any more."""


# Module constants for the members: Python 3.11 calls a function for each `Slot.TAKEN`.
FREE: Final = Slot.FREE
GATHERING: Final = Slot.GATHERING
TAKEN: Final = Slot.TAKEN
GONE: Final = Slot.GONE
