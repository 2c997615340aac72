"""The size check, made before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import PayloadTooLargeError

if TYPE_CHECKING:
    import msgspec

    from romancy.serialization._where import Where


def check_size(raw: bytes | msgspec.Raw, limit: int, where: Where | str) -> None:
    """Raise PayloadTooLargeError, naming both sizes, for more than `limit` bytes."""
    size = memoryview(raw).nbytes
    if size > limit:
        raise PayloadTooLargeError(
            f"{where} is {size:,} bytes of JSON, and at most {limit:,} are stored; "
            "put large data where it belongs (a file, an object store) and pass a reference to it"
        )
