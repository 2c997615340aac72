"""Instances of the shapes in one process: nothing is found, and each planted fault is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy
from romancy.core import ActivityCancelled
from romancy.engine.activities.runner import Attempts
from romancy.storage.backends import create_store
from romancy_conformance.chaos.plain import OUTSIDE, outside
from romancy_conformance.chaos.shapes import acts
from romancy_conformance.chaos.shapes.acts import UNDO
from romancy_conformance.chaos.shapes.catalogue import OF_ALL_RUNS, SHAPES, workflows_of
from romancy_conformance.chaos.shapes.sealed import Sealing
from romancy_conformance.chaos.shapes.throng import Throng
from romancy_conformance.chaos.stage import APPS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from romancy_conformance.chaos.judge import Finding

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]

_add = acts._add  # pyright: ignore[reportPrivateUsage] - it is what is planted
_cancel = Attempts.cancel
_BACK = 20_000


@pytest.fixture
def anyio_backend() -> str:
    """Apps run on asyncio."""
    return "asyncio"


async def play(url: str, folder: Path, shapes: Collection[str], instances: int) -> list[Finding]:
    """Play instances of these shapes, with a worker in this process."""
    outside[:] = [folder / OUTSIDE]
    throng = Throng("throng", shapes, instances, folder)
    store = create_store(url)
    await store.open()
    seals = any(SHAPES[name].sealed for name in shapes)
    sealing = Romancy(url, workflows=workflows_of(sealed=True), codecs=[Sealing()], worker=seals)
    apps = {False: Romancy(url, workflows=workflows_of(sealed=False)), True: sealing}
    APPS.set(apps)  # before the workers begin, whose activities see it
    async with apps[False], sealing:
        await throng.play(apps, store, patience=120)
        found = await throng.judge((), (), lease=30, patience=120)
    await store.close()
    return found


async def test_nothing_is_found(storage_url: str, tmp_path: Path) -> None:
    some = [name for name in SHAPES if name not in OF_ALL_RUNS]  # others purge here
    assert [] == await play(storage_url, tmp_path, some, 2 * len(some))


async def test_nothing_is_found_where_no_run_is_removed(storage_url: str, tmp_path: Path) -> None:
    assert [] == await play(storage_url, tmp_path, sorted(OF_ALL_RUNS), 6)


def _twice(name: str, line: Any) -> None:
    _add(name, line)
    if line.what == UNDO:
        _add(name, line)


def _never(name: str, line: Any) -> None:
    if line.what != UNDO:
        _add(name, line)


@pytest.mark.parametrize(("planted", "kinds"), [(_twice, {"doubled"}), (_never, {"lost", "undone"})])
async def test_an_undo_that_is_doubled_or_lost(
    storage_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    planted: Callable[[str, Any], None],
    kinds: set[str],
) -> None:
    monkeypatch.setattr(acts, "_add", planted)

    assert kinds == {finding.kind for finding in await play(storage_url, tmp_path, ["cancel", "sibling"], 12)}


async def test_a_cancellation_that_forgets_what_has_just_ended(
    storage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says 'cancelled, without effect' of an attempt that has ended and whose end waits to be written.

    The estimate of the database's clock has gone back, so that this comes first.
    """

    def forgets(self: Attempts, live: Any, activity_id: str, **options: Any) -> None:
        if activity_id not in live.attempts:
            earlier = self._clock.now() - _BACK  # pyright: ignore[reportPrivateUsage]
            self._driver.feed(live, ActivityCancelled(at=earlier, id=activity_id))  # pyright: ignore[reportPrivateUsage]
        else:
            _cancel(self, live, activity_id, **options)

    monkeypatch.setattr(Attempts, "cancel", forgets)

    found = await play(storage_url, tmp_path, ["cancel", "limit", "deadline"], 150)

    assert "unheard" in {finding.kind for finding in found}
