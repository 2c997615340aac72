"""A private server of each kind for a whole module: these tests are about servers, not databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy_conformance.servers import Kind, ServerUnavailableError, private_server
from romancy_conformance.servers.plugin import do_without
from romancy_conformance.stores import chosen_backends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy_conformance.servers import Server


@pytest.fixture(scope="module", params=[kind for kind in Kind if kind in chosen_backends()])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A private server of each kind of this run; each test leaves it running."""
    kind = Kind(request.param)
    try:
        server = private_server(kind)
    except ServerUnavailableError as error:
        do_without(kind, error)
    server.start()
    yield server
    server.close()
