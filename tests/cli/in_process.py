"""Commands that tests type in their own process, and a database for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from romancy.cli import cli
from romancy.cli._endings import ended
from romancy.storage.backends import create_store

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

__all__ = ["Answer", "migrate", "runner"]


class Answer(NamedTuple):
    """The exit code of a command, and its output."""

    code: int
    out: str
    err: str


def runner(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Return a function that runs one command and returns its answer."""

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        code = ended(lambda: cli.main(list(arguments), prog_name="romancy", standalone_mode=False))
        printed = capsys.readouterr()
        return Answer(code, str(printed.out), str(printed.err))

    return run


def migrate(url: str) -> None:
    """Create the tables of a database."""

    async def opened() -> None:
        store = create_store(url)
        await store.open()
        await store.close()

    asyncio.run(opened())
