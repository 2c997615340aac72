"""Refuses versions of a database's driver with which its adapter does not work."""

from __future__ import annotations

from romancy._oldest_versions import refusal
from romancy.errors import StorageConfigurationError

__all__ = ["check_driver"]


def check_driver(package: str, found: str) -> None:
    """Raise StorageConfigurationError, with the version that is needed, if Romancy does not work with this one."""
    sentence = refusal(package, found)
    if sentence is not None:
        raise StorageConfigurationError(sentence)
