"""Sets Django up before the test modules import its models."""

from __future__ import annotations

from tests.ext.django import project

__all__ = ["project"]
