"""Fixtures of the storage's tests."""

from __future__ import annotations

from tests.core.conftest import python

__all__ = ["python"]
