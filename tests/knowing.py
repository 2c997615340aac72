"""Makes this code know other migrations than it has: those of an older program, or those of one to come."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import pytest

    from romancy.storage.schema import Migration

    Change = Callable[[list[Migration]], list[Migration]]

__all__ = ["as_program", "knowing", "package_of"]

_program: ContextVar[Change | None] = ContextVar("_program", default=None)


def package_of(backend: str) -> str:
    """Return the adapter of a kind of database."""
    return f"romancy_{'mysql' if backend == 'mariadb' else backend}"


def knowing(patch: pytest.MonkeyPatch, backend: str, change: Change) -> None:
    """Until the patch is undone, the adapter knows what this makes of the migrations that it knows now.

    A task that is inside of `as_program` sees what that makes of them.
    """
    module: Any = import_module(f"{package_of(backend)}._migrations")
    before = module.known_migrations

    def known_migrations(*dialect: object) -> list[Migration]:
        return (_program.get() or change)(before(*dialect))

    patch.setattr(module, "known_migrations", known_migrations)


@contextmanager
def as_program(change: Change) -> Generator[None]:
    """Let this task be another program than the rest of the process; `knowing` has to be in effect."""
    token = _program.set(change)
    try:
        yield
    finally:
        _program.reset(token)
