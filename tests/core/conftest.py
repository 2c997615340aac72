"""Fixtures of the core's tests."""

from __future__ import annotations

import pytest

from conftest import PYTHON
from tests.core.interpreters import VERSIONS, Interpreter, other


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> Interpreter:
    """Each Python that the core supports; the run's summary says which were available."""
    interpreter = other(request.param)
    if interpreter.missing:
        pytest.skip(interpreter.missing)
    request.node.user_properties.append((PYTHON, interpreter.exact))
    return interpreter
