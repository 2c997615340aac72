"""Counts of things, for sentences."""

from __future__ import annotations

__all__ = ["many"]


def many(count: int, what: str) -> str:
    """`1 instance`, `2 instances`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
