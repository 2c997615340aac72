"""Leaves out the tests of services that a store does not offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.services import Service, Services

__all__ = ["services_with"]


def services_with(service: Service, store: Store) -> Services:
    """The services of the store. Skip the test if this one is not among them."""
    if service not in store.services.offered:
        pytest.skip(f"capability: the store offers no service {service.value!r}")
    return store.services
