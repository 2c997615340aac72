"""The pin of PyMySQL: aiomysql uses private functions of it, and the two must fit each other."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any


def test_aiomysql_writes_bytes_parameters_with_the_locked_pymysql() -> None:
    aiomysql: Any = import_module("aiomysql")  # by name, because it carries no types

    async def written(value: bytes) -> str:
        unconnected = aiomysql.Connection(charset="utf8mb4")
        return str(unconnected.escape(value))

    assert "_binary'a\\0\\'\udcff'" == asyncio.run(written(b"a\x00'\xff"))
