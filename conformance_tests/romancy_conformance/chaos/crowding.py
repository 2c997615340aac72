"""A server at its limit of connections: others hold all that are left."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["crowded"]

_AT_ONCE = 20
_MOST = 2000


@asynccontextmanager
async def crowded(url: str) -> AsyncGenerator[None]:
    """Hold every connection that the server still gives, for as long as the block lasts."""
    held: list[Any] = []
    try:
        while len(held) < _MOST:
            came = await asyncio.gather(*(_connect(url) for _ in range(_AT_ONCE)), return_exceptions=True)
            held += [one for one in came if not isinstance(one, BaseException)]
            if any(isinstance(one, BaseException) for one in came):
                break
        yield
    finally:
        for connection in held:
            with suppress(Exception):  # the server may have ended it
                connection.terminate() if hasattr(connection, "terminate") else connection.close()


async def _connect(url: str) -> Any:
    if url.startswith("postgres"):
        import asyncpg  # noqa: PLC0415 - only this server's driver is there

        return await asyncpg.connect(url)
    import aiomysql  # noqa: PLC0415 - as above

    parts = urlsplit(url)
    return await aiomysql.connect(
        host=parts.hostname, port=parts.port, user=parts.username, password=parts.password or ""
    )
