"""Fixtures of the core's tests."""

from __future__ import annotations

import pytest

from conftest import PYTHON
from tests.core.interpreters import VERSIONS, Interpreter, other


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> Interpreter:
    """Each Python the core is for; the run's summary says which could be had."""
    interpreter = other(request.param)
    if interpreter.missing:
        pytest.skip(interpreter.missing)
    request.node.user_properties.append((PYTHON, interpreter.exact))
    return interpreter
