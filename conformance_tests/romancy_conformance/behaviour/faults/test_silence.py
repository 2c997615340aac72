"""A network that drops everything silently: time-outs end the waits, and workers continue by themselves."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_conformance.behaviour.faults.field import Field
    from romancy_conformance.proxy import Proxy

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.soak,
    pytest.mark.timeout(300),
    pytest.mark.backends("postgres", "mysql", "mariadb"),
]

SOAK = bool(os.environ.get("ROMANCY_SOAK"))
BOUND = 40.0
"""Seconds of silence after which every connection must have been given up."""
COUNT = 20


async def test_open_connections_fall_silent_for_ever(
    field: Field, backend: str, proxy_for: Callable[[str], Proxy], capsys: pytest.CaptureFixture[str]
) -> None:
    """Like a restarted firewall: no data arrives, no end is reported, and new connections work."""
    proxy = proxy_for(field.url)
    # PostgreSQL's bound cannot be chosen.
    url = proxy.url(field.url) + ("" if SOAK or backend == "postgres" else "?timeout=5")
    worker = await field.worker("--lease", "90", url=url)
    ids = [f"silent-{number}" for number in range(COUNT)]
    await field.start(ids, 3, 0.2)
    await field.begun(COUNT + COUNT // 2)  # sessions are open then
    proxy.fall_silent()
    begun = time.monotonic()
    await field.all_ended(BOUND + 20)

    with capsys.disabled():
        print(f"\n{field.url.partition(':')[0]}: all ended {time.monotonic() - begun:.1f} s after the silence began")
    assert time.monotonic() - begun < BOUND + 3 * 2 * 0.2 * 5
    assert worker.alive
    await field.check(ids, 3, interrupted=2 * COUNT, by=[])
    assert {owner for id in ids for owner in await field.owners(id)} <= {""}


async def test_the_network_is_gone_for_a_while(field: Field, proxy_for: Callable[[str], Proxy]) -> None:
    """Longer than a lease: another worker takes over, and the returning worker does no harm and works again."""
    lease, away = (30.0, 90.0) if SOAK else (2.0, 6.0)
    proxy = proxy_for(field.url)
    far = await field.worker("--lease", str(lease), "--elsewhere", url=proxy.url(field.url))
    ids = [f"gone-{number}" for number in range(COUNT)]
    await field.start(ids, 2, 0.3)
    await field.begun(COUNT)
    proxy.black_hole()
    near = await field.worker("--lease", str(lease))
    await asyncio.sleep(away)
    await field.all_ended()
    before = {id: await field.log(id) for id in ids}
    proxy.heal()
    assert await near.stopped() == 0

    later = [f"after-{number}" for number in range(COUNT)]
    await field.start(later, 2, 0.05)
    await field.all_ended()

    assert far.alive
    assert before == {id: await field.log(id) for id in ids}
    await field.check([*ids, *later], 2, interrupted=2 * COUNT, by=[far, near])
