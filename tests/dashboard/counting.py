"""A store that notes which calls of its services are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from romancy.storage.passing import Passing
from romancy.storage.protocol import Store

if TYPE_CHECKING:
    from romancy.storage.services import Services

__all__ = ["CountingStore"]


class CountingStore(Passing[Store], Store):
    """Passes all calls on."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.calls: list[str] = []
        self.services: Services = store.services.wrapped(
            router=self._counting, outbox=self._counting, reading=self._counting, lookups=self._counting,
            figures=self._counting,
        )  # fmt: skip

    def _counting(self, service: Any) -> Any:
        return cast("Any", _CountedService(service, self.calls))


class _CountedService:
    def __init__(self, service: Any, calls: list[str]) -> None:
        self._service = service
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        self._calls.append(name)
        return getattr(self._service, name)
