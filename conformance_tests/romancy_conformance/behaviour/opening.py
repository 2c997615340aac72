"""The type of the fixture `open_app`, which opens one more app on the database of a test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from romancy import Romancy

__all__ = ["Open"]

Open: TypeAlias = Callable[..., Awaitable[Romancy]]
