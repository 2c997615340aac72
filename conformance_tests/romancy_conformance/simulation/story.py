"""The story of a slice: about its first finding, for people or as lines of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from romancy.testing.simulating.story import Entry, about, entries, in_columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from romancy_conformance.simulation.slices import Outcome

__all__ = ["subject_of", "tell", "told"]


def subject_of(findings: Sequence[str]) -> str:
    """Return the instance, or the process, of the first finding: `DOUBLED x-1-4: …`."""
    words = findings[0].split() if findings else []
    return words[1].rstrip(":") if len(words) > 1 else ""


def told(outcome: Outcome, subject: str | None = None) -> list[Entry]:
    """Return the story of a slice: of its first finding, of another instance or process, or all of it (`all`)."""
    found = entries(outcome.story)
    subject = subject_of(outcome.findings) if subject is None else subject
    if subject not in {"", "all"}:
        found = about(found, subject)
    return [*found, *(Entry(outcome.virtual, "judge", "found", text) for text in outcome.findings)]


def tell(outcome: Outcome, file: Path, subject: str | None = None) -> None:
    """Write the story into a file: as JSON if it is named so, else for people."""
    story = told(outcome, subject)
    if file.suffix == ".jsonl":
        lines = [msgspec.json.encode(entry).decode() for entry in story]
    else:
        lines = [in_columns(entry) for entry in story if not entry.is_quiet]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
