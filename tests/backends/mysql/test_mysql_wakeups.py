"""The periodic look for work continues whatever error one look meets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from romancy_mysql._wakeups import Wakeups

pytestmark = pytest.mark.anyio


class OddDatabase:
    """The first look raises an unexpected error, the next ones find something."""

    settings = SimpleNamespace(identity="odd", where="odd", listen=False)

    def __init__(self) -> None:
        self.looks = 0

    def check_open(self) -> None:
        pass

    def statement(self, name: str, **values: object) -> str:
        return name

    async def ask(self, statement: str) -> list[Any]:
        if statement == "read_now":
            return [SimpleNamespace(rows=[(1,)])]
        self.looks += 1
        if self.looks == 1:
            raise ValueError("what is this?")
        return [SimpleNamespace(rows=[(b"one", self.looks)])]


async def test_a_look_that_breaks_is_told_and_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    database: Any = OddDatabase()
    wakeups = Wakeups(database)
    await wakeups.open()
    try:
        assert await wakeups.wait(10.0) != frozenset()
    finally:
        await wakeups.close()

    assert "what is this?" in caplog.text
