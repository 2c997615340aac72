"""Workers of two source trees side by side: who they are, and that they come by turns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import romancy
import romancy_sqlite
from romancy_conformance.chaos.worker import Job
from romancy_conformance.chaos.workers import ByTurns, Nursery, Worker, put_tree

if TYPE_CHECKING:
    from romancy_conformance.chaos.workers import Makes

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Nurseries run on asyncio."""
    return "asyncio"


class Fake:
    """Makes workers that are identified by their numbers."""

    def __init__(self, first: int) -> None:
        self._next = first

    async def make(self, job: Job) -> Worker:
        self._next += 1
        return Worker(self._next, Nursery.__new__(Nursery))


async def test_they_come_by_turns() -> None:
    both: Makes = ByTurns((Fake(100), Fake(200)))

    assert [101, 201, 102, 202, 103] == [(await both.make(Job(url="", log=""))).pid for _ in range(5)]


async def test_workers_run_the_tree_they_are_to_run(tmp_path: Path) -> None:
    """The programs are always those of this tree, also where the other tree has its own."""
    (tmp_path / "romancy").symlink_to(Path(romancy.__path__[0]))
    (tmp_path / "backends").symlink_to(Path(romancy_sqlite.__path__[0]).parent)

    tree = put_tree(str(tmp_path), tmp_path / "nowhere")
    async with Nursery(tree) as nursery:
        assert tree == await nursery.tree()
