"""Registries of a simulation: the same workflows have the same one in each process.

To collect one takes milliseconds, and a simulation opens dozens of apps with the same workflows.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from romancy.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = ["kept_registries"]


@contextmanager
def kept_registries() -> Generator[None]:
    """Let each list of workflows be collected once, in all processes of this simulation."""
    collect, kept = Registry.collect, dict[tuple[Any, ...], Registry]()

    def collected(workflows: Iterable[Any] | None = None) -> Registry:
        if workflows is None:
            return collect()
        key = tuple(workflows)
        if key not in kept:
            kept[key] = collect(key)
        return kept[key]

    with patch.object(Registry, "collect", collected):
        yield
