"""Who may read the files: those that Romancy makes are their owner's alone, and those of others keep their modes."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, workflow

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="capability: files have modes on POSIX systems"),
]


@workflow(name="modes_greet")
async def greet(ctx: WorkflowContext, name: str) -> str:
    return name


@contextmanager
def umask(mask: int) -> Generator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes_in(folder: Path) -> dict[str, str]:
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in sorted(folder.iterdir())}


async def modes_after_work(folder: Path) -> dict[str, str]:
    """Open the file, write, and look at all that lies beside it while it is open."""
    async with Romancy(f"sqlite:///{folder}/shop.db", workflows=[greet]) as app:
        await app.run(greet, "Ann")
        return modes_in(folder)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o177], ids=oct)
async def test_new_files_are_their_owners_alone(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        found = await modes_after_work(tmp_path)

    assert found == dict.fromkeys(["shop.db", "shop.db-shm", "shop.db-wal"], "0o600")
    assert modes_in(tmp_path)["shop.db"] == "0o600"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o666], ids=oct)
async def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    """As for a group that shares it: the files that SQLite makes beside it have the same."""
    (tmp_path / "shop.db").touch()
    (tmp_path / "shop.db").chmod(mode)

    with umask(0o077):
        found = await modes_after_work(tmp_path)

    assert found == dict.fromkeys(["shop.db", "shop.db-shm", "shop.db-wal"], oct(mode))
