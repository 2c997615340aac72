"""Lines that fit the terminal, however long the text."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from romancy.cli._printing import accept_every_character, paragraphs, wrapped
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


@pytest.mark.parametrize("encoding", ["cp437", "cp1252", "ascii"])
def test_what_an_encoding_lacks_is_printed_in_escapes(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding))
    accept_every_character()
    shown = json.dumps({"name": "é … 😀 \ud800"}, ensure_ascii=False)

    print(shown, flush=True)

    assert json.loads(printed.getvalue().decode(encoding)) == json.loads(shown)


def test_the_demo_runs_in_a_console_with_few_characters() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "cp437:strict"}
    done = subprocess.run([sys.executable, "-m", "romancy", "demo"], env=environment, capture_output=True, check=False)

    assert (0, b"") == (done.returncode, done.stderr)
    assert rb"book   car in Lisbon \u2026" in done.stdout
