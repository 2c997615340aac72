"""The statements of one test's own database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy_conformance.behaviour.costs.counting import SqliteStatements, Statements, statements_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from romancy_conformance.servers import Server


COUNTED = ("postgres", "mysql", "mariadb")
"""The servers whose log of statements is read here."""


@pytest.fixture
def statements(
    backend: str, tmp_path: Path, has_server: Callable[[str], bool], server_for: Callable[[str], Server]
) -> Iterator[Statements]:
    """An empty database that records the statements it receives."""
    if backend == "sqlite":
        counted: Statements = SqliteStatements(tmp_path / "romancy.db")
    elif has_server(backend) and backend in COUNTED:
        counted = statements_at(server_for(backend))
    else:
        pytest.skip(f"capability: nothing counts what {backend} is asked")
    with counted.on():
        yield counted
