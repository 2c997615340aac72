"""Reads and checks the options of a storage URL. An error names the option, its value and the allowed values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import StorageConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection

    from romancy.storage.url import StorageURL

__all__ = ["Options"]


class Options:
    """The options of one URL, with defaults for those that it leaves out."""

    def __init__(self, url: StorageURL, defaults: dict[str, str]) -> None:
        self._url = url
        self._values = url.take_options(defaults)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def number(self, name: str, least: float = 0.1, most: float = 1_000_000) -> float:
        """A number within these bounds."""
        try:
            number = float(self._values[name])
        except ValueError:
            number = -1.0
        if not least <= number <= most:
            raise self.refused(name, f"is not a number from {least:,.10g} to {most:,.10g}")
        return number

    def choice(self, name: str, allowed: Collection[str]) -> str:
        """One of these words."""
        if self._values[name] not in allowed:
            raise self.refused(name, f"is not one of {', '.join(allowed)}")
        return self._values[name]

    def refused(self, name: str, reason: str) -> StorageConfigurationError:
        """The error that says why the value of an option is refused."""
        return StorageConfigurationError(f"storage URL {self._url}: {name}={self._values[name]!r} {reason}")
