"""Lines that fit the terminal, however long the text."""

from __future__ import annotations

import pytest

from romancy.cli._printing import paragraphs, wrapped
from romancy.insight import many


@pytest.mark.parametrize("indent", ["", " " * 12])
@pytest.mark.parametrize("length", [1, 79, 80, 81, 9_999, 10_001, 2_000_000])
def test_a_long_word_is_broken_into_lines_that_fit(length: int, indent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = ("0123456789" * (length // 10 + 1))[:length]

    lines = wrapped(text, indent).splitlines()

    assert all(len(line) <= 80 for line in lines)
    assert all(line.startswith(indent) for line in lines)
    assert text == "".join(line.strip() for line in lines)


def test_lines_of_a_reason_stay_lines_and_none_begins_like_another_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = "\n".join(paragraphs("It is stuck: no longer fits.\n  the log says:      a\nIt runs.\n\n" + "x " * 60))

    assert lines.splitlines()[:3] == ["It is stuck: no longer fits.", "  the log says:      a", "  It runs."]
    assert all(len(line) <= 80 and line.startswith("  ") for line in lines.splitlines()[1:])


def test_a_count_of_one_takes_the_singular() -> None:
    assert ["0 workers", "1 worker", "2 workers"] == [many(count, "worker") for count in range(3)]
