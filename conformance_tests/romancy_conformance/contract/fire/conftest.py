"""Fixtures of the tests under fire: databases that other processes can reach, and servers that a test may kill."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from romancy_conformance.contract.fire.process import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from romancy_conformance.servers import Server


class Ground:
    """A database and what the test may kill: its server if the suite started it, otherwise the processes that write."""

    def __init__(self, url: str, server: Server | None) -> None:
        self.url = url
        self.server = server


@pytest.fixture
def scale() -> int:
    """Factor by which this run multiplies the small numbers."""
    return 10 if os.environ.get("ROMANCY_SOAK") else 1


@pytest.fixture
async def ground(
    backend: str,
    empty_url: str,
    shared_url: str,
    has_server: Callable[[str], bool],
    server_for: Callable[[str], Server],
) -> Ground:
    """A database without tables (`empty_url`), on a private server of this test where the suite can start one."""
    if not has_server(backend):
        return Ground(shared_url, None)
    server = server_for(backend)
    return Ground(server.fresh_database(), server)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start a program of this package; programs that still run at the end of the test are killed."""
    with ExitStack() as stack:

        def starter(name: str, module: str, url: str, *arguments: Any) -> Program:
            program = Program(tmp_path, name, module, url, *arguments)
            stack.callback(program.kill)
            return program

        yield starter
