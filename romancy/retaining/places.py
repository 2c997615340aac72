"""Where an archive lies: in a folder of this machine, or where fsspec finds it by a URL, as a bucket.

A folder has one file for each day and writer, which is appended to and synced. What a URL names cannot be appended to:
there, each batch is a file of its own, which is there whole before its instances are removed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol
from urllib.parse import urlsplit

from romancy.engine.surroundings import here
from romancy.errors import StorageUnavailableError
from romancy.retention import check_archive, shown_archive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fsspec import AbstractFileSystem

    from romancy.moving.reading import Lines

__all__ = ["Folder", "Place", "Remote", "place_of"]


class Place(Protocol):
    """Where an archive lies. Its text is what messages call it."""

    def write(self, writer: str, lines: Sequence[bytes], /) -> None:
        """Add lines. They are there when this returns."""
        ...

    def files(self) -> Sequence[Lines]:
        """Its files, the oldest days first."""
        ...


def place_of(name: str | Path) -> Place:
    """The place with this name, a path or a URL. Raises UsageError as `check_archive`."""
    check_archive(name)
    if "://" not in str(name):
        return Folder(Path(name))
    return Remote(str(name))


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def write(self, writer: str, lines: Sequence[bytes]) -> None:
        """Append the lines to today's file of this writer. They are on the disk when this returns."""
        folder = self._path
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{_today()}-{writer}.jsonl"
        with path.open("ab") as file:
            before = file.tell()
            try:
                for line in lines:
                    file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), before)
                raise
        if hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder, and writes its entries by itself
            entries = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(entries)
            finally:
                os.close(entries)

    def files(self) -> list[Path]:
        """Its files, the oldest days first."""
        return sorted(self._path.glob("*.jsonl"))


class Remote:
    """What a URL names. Each use asks fsspec anew, whose settings hold keys and addresses."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def __str__(self) -> str:
        return shown_archive(self._url)

    def write(self, writer: str, lines: Sequence[bytes]) -> None:
        """Write the lines to a new file. Raises StorageUnavailableError if it is not there afterwards."""
        if not lines:
            return
        try:
            system, root = self._there()
            system.pipe_file(f"{root}/{_today()}-{writer}-{here().octets(8).hex()}.jsonl", b"".join(lines))
        except Exception as error:
            raise self._refused("written to", error) from error

    def files(self) -> list[_File]:
        """Its files, the oldest days first."""
        try:
            system, root = self._there()
            paths = sorted(system.glob(f"{root}/*.jsonl"))
            return [_File(system, path, f"{self}/{path.rpartition('/')[2]}", self._url) for path in paths]
        except Exception as error:
            raise self._refused("read", error) from error

    def _there(self) -> tuple[AbstractFileSystem, str]:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - the extra `archive`

        return url_to_fs(self._url)

    def _refused(self, what: str, error: Exception) -> StorageUnavailableError:
        return StorageUnavailableError(f"the archive {self} cannot be {what}: {_told(error, self._url)}")


class _File:
    """A file in a place that a URL names."""

    def __init__(self, system: AbstractFileSystem, path: str, name: str, url: str) -> None:
        self._system = system
        self._path = path
        self._name = name
        self._url = url

    def __str__(self) -> str:
        return self._name

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open it to read from it, at any place."""
        try:
            return self._system.open(self._path, mode)
        except Exception as error:
            raise StorageUnavailableError(f"{self} cannot be read: {_told(error, self._url)}") from error


def _told(error: Exception, url: str) -> str:
    """What a place has answered, without the user and the password of its URL."""
    user = urlsplit(url).netloc.rpartition("@")[0]
    text = f"{type(error).__name__}: {error}"
    for secret in (user, user.partition(":")[2]):
        text = text.replace(secret, "***") if secret else text
    return text


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"
