"""Which test noticed a mutant in a former run: it is the first that the mutant meets in the next one.

The file is in `build/`. What it says may be old: then the mutant meets the other tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import json

from tools.mutations.systematic.equivalents import words_of
from tools.mutations.systematic.probing import FOLDER
from tools.mutations.systematic.statements import DIALECTS

if TYPE_CHECKING:
    from tools.mutations.systematic.statements import Listed

__all__ = ["Killers"]

_FILE: Final = FOLDER / "killers.jsonl"


class Killers:
    """The tests by mutant."""

    def __init__(self) -> None:
        lines = _FILE.read_bytes().splitlines() if _FILE.exists() else []
        self._tests: dict[str, str] = dict(json.decode(line, type=tuple[str, str]) for line in lines)

    def of(self, mutant: Listed) -> str:
        """The test that noticed it, or noticed the same in another database, or an empty text."""
        words = words_of(mutant)
        for name in (mutant.dialect, *DIALECTS):
            if test := self._tests.get(words.replace(mutant.dialect, name, 1)):
                return test.replace(f"[{name}", f"[{mutant.dialect}")
        return ""

    def note(self, mutant: Listed, test: str) -> None:
        """The test has noticed the mutant."""
        words = words_of(mutant)
        if self._tests.get(words) != test:
            self._tests[words] = test
            with _FILE.open("ab") as file:
                file.write(json.encode((words, test)) + b"\n")
