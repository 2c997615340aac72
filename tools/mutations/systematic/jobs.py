"""What a process that tries mutants is told, and what it answers."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BEGINS", "Job", "Line", "Recorded", "Trial", "source_of"]

BEGINS: Final = "begins"
"""What a process says before it runs a test."""


class Recorded(Struct):
    """What a test used on the unchanged tree."""

    test: str
    seconds: float
    outcome: str
    statements: list[str]
    tapped: bool
    """Whether it looked at statements or held them up."""
    source: str = ""
    """Changes with the file of the test."""


class Trial(Struct):
    """A mutant to try."""

    key: str
    statement: str
    kind: str
    text: str
    killer: str = ""
    """The test that noticed it in a former run."""


class Job(Struct):
    """What a process is to do."""

    answers: str
    """The file to add lines to."""
    trials: list[Trial] = []
    recorded: list[Recorded] = []
    """What is known of the tests. A job without mutants records only the others."""
    until: float | None = None
    """The time, in seconds since 1970, after which no further test begins."""
    patience: float = 1e9
    """The seconds of tests that a mutant meets at most, by their recorded time. One test it meets in any case."""


class Line(Struct, omit_defaults=True):
    """What a process says: the test that begins, or what became of a mutant."""

    key: str
    outcome: str
    """`begins`, `killed`, `tapped` (noticed, but only where statements were looked at), `survived`, `unused`, `broken`,
    `unsure`, `left` (the time was up).
    """
    statement: str = ""
    test: str = ""
    why: str = ""
    tests: int = 0
    """How many tests ran."""
    of: int = 0
    """How many tests use the statement."""
    seconds: float = 0
    limit: float = 0
    """The seconds after which a test that begins is hung."""


@functools.cache
def source_of(path: Path) -> str:
    """Changes with a file of tests."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
