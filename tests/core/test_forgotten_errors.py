"""The error of a task that nobody awaits is told in the activation in which the task ends, on every Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.core.forgotten import told

if TYPE_CHECKING:
    from tests.core.interpreters import Interpreter

BRIEF = "the task of forgets.<locals>.fail has failed, and no code awaits it: LookupError: the reason\n"


@pytest.mark.parametrize("turns", [1, 20_000])
def test_it_is_told_at_once(turns: int) -> None:
    (warning,) = told(turns)
    assert warning.startswith(BRIEF)


@pytest.mark.long
def test_it_is_told_on_every_python(python: Interpreter) -> None:
    for warnings in json.loads(python.run("-m", "tests.core.forgotten")):
        (warning,) = warnings
        assert warning.startswith(BRIEF)
