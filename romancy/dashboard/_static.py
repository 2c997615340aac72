"""The files that pages load. They are read once, by their names: no path of a request reaches the file system."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from starlette.responses import Response

from romancy.dashboard._refused import not_found

__all__ = ["static_file", "version_of"]

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
_FOLDER: Final = Path(__file__).parent / "static"
_files: Final[dict[str, bytes]] = {}


def static_file(name: str) -> Response:
    """The answer with this file. Its URL has its version, so a browser may cache it."""
    content = _all().get(name)
    if content is None:
        raise not_found("There is no such file.")
    headers = {"cache-control": "private, max-age=31536000, immutable"}
    return Response(content, media_type=_TYPES[Path(name).suffix], headers=headers)


def version_of(name: str) -> str:
    """A short text that changes with the file."""
    return hashlib.sha256(_all()[name]).hexdigest()[:12]


def _all() -> dict[str, bytes]:
    if not _files:
        _files.update((file.name, file.read_bytes()) for file in _FOLDER.iterdir() if file.suffix in _TYPES)
    return _files
