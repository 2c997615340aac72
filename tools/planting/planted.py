"""What is planted: a text of the tree, and what takes its place."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Planted"]


class Planted(Struct, frozen=True, kw_only=True):
    """One fault."""

    name: str
    file: str
    text: str
    """It occurs once."""
    replacement: str
    unseen: str = ""
    """Why the simulation need not find it."""
    case: str = ""
    """The named case that finds it. Random slices nearly never do."""
    shapes: str = ""
    """The only shapes that are played, separated by commas; nothing: the usual ones."""
    mend: bool = False
    """Whether the engine once had this fault: a mend is undone."""
