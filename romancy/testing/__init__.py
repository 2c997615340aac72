"""Tests of workflows: without waiting, without a database, and with fakes for the outside world."""

from __future__ import annotations

from romancy.testing._app import TestApp
from romancy.testing._calls import ActivityCall, Calls

__all__ = ["ActivityCall", "Calls", "TestApp"]
