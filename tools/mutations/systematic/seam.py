"""Puts a changed text in the place of the right one, in this process, and hears which texts are used.

The adapters know nothing of it: when a store is made, it gets a mapping of names to texts that listens. So a store that
is open gets a mutant too, and no store keeps one.
"""

# pyright: reportPrivateUsage=false
# The seam reaches into the adapters, which know nothing of it.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

from romancy.storage.sql import with_prefix
from romancy_mysql import _database as mysql
from romancy_mysql._sql import Template, qualifier
from romancy_postgres import _database as postgres
from romancy_sqlite import _store as sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

__all__ = ["Heard", "install"]

V = TypeVar("V")


class Heard(dict[str, V]):
    """The statements of a store by name, of which one may be changed."""

    names: set[str] = set()  # noqa: RUF012 - shared by all of them
    """The names that were used."""
    changed: tuple[str, str] | None = None
    """The name of the statement that is changed, and its text."""

    def __init__(self, right: Mapping[str, V], made: Callable[[str, str], V]) -> None:
        super().__init__(right)
        self._made = made

    def __getitem__(self, name: str) -> V:
        Heard.names.add(name)
        changed = Heard.changed
        return self._made(*changed) if changed is not None and changed[0] == name else super().__getitem__(name)

    def items(self) -> Any:
        """The names with the texts as they are sent now: a tap knows statements by them."""
        changed = Heard.changed
        return {**self, changed[0]: self._made(*changed)}.items() if changed is not None else super().items()


def install() -> None:
    """Hear every store that is made from now on."""
    _patch(sqlite, "texts", _plain)
    _patch(postgres, "texts", _plain)
    _patch(mysql, "_templates", _templated)


def _plain(prefix: str, schema: str | None = None) -> Callable[[str, str], str]:
    return lambda _, text: with_prefix(text, prefix, schema)


def _templated(database: str, prefix: str) -> Callable[[str, str], Template]:
    qualified = qualifier(database, prefix)
    return lambda name, text: Template(name, with_prefix(text, prefix), qualified)


def _patch(module: ModuleType, name: str, making: Callable[..., Callable[[str, str], Any]]) -> None:
    """Let the function by which an adapter gets its texts return one that listens. `making` takes the same values."""
    right = getattr(module, name)

    def heard(*values: Any) -> Heard[Any]:
        return Heard(right(*values), making(*values))

    mock.patch.object(module, name, heard).start()
