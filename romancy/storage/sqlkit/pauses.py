"""Pauses before the retry of a statement that the database refused temporarily."""

from __future__ import annotations

import asyncio
import random

__all__ = ["pause"]


async def pause(tries: int, first: float, longest: float) -> None:
    """Wait for a time that doubles with each try, up to a bound. Jitter keeps competitors apart."""
    await asyncio.sleep(min(first * 2**tries, longest) * random.uniform(0.5, 1))  # noqa: S311 - jitter
