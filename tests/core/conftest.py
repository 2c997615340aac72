"""Fixtures of the core's tests."""

from __future__ import annotations

import pytest

from conftest import PYTHON
from tests.core.interpreters import Interpreter, other
from tools.machines.interpreters import VERSIONS

OLDEST = "3.11.2"
"""The oldest patch release that can be had: Debian 12's. Some of its faults are mended in later ones."""


@pytest.fixture(params=(OLDEST, *VERSIONS))
def python(request: pytest.FixtureRequest) -> Interpreter:
    """Each Python that Romancy supports; the run's summary says which were available."""
    interpreter = other(request.param)
    if interpreter.missing:
        pytest.skip(interpreter.missing)
    request.node.user_properties.append((PYTHON, interpreter.exact))
    return interpreter
