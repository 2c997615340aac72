"""Commands on very many instances: memory does not grow with their number, and an outage prints the progress."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from romancy.cli import _bulk
from romancy.cli._bulk import Action, Request, act_on
from romancy.errors import StorageUnavailableError
from romancy.instance import Instance
from romancy.query import InstanceFilter
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MANY = 8_000
OPTIONS: dict[str, Any] = {
    "url": "x", "app": None, "chosen": InstanceFilter(workflow_name="flow"), "dry_run": False, "json_lines": False,
}  # fmt: skip


class Crowd:
    """A database of very many matching instances, which it keeps nowhere."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.store = SimpleNamespace(services=SimpleNamespace(reading=self))
        self.acted = 0

    async def census(self) -> SimpleNamespace:
        now = int(NOW.timestamp() * 1_000_000)
        worker = SimpleNamespace(works=True, dead=False, beat_at=now, lease=1, codes=())
        return SimpleNamespace(now=now, workers=(worker,))

    async def to_act_on(self, *_: object, **__: object) -> AsyncIterator[Instance]:
        for number in range(self.count):
            yield Instance(
                f"instance-{number}", "flow", Status.WAITING, NOW, NOW, None, None, None, b"%d" % number + b"x" * 500
            )

    async def act(self, _of: object, _id: str, _found: Instance | None) -> bool:
        self.acted += 1
        return True


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Crowd]:
    def of(count: int) -> Crowd:
        there = Crowd(count)

        @asynccontextmanager
        async def operating(url: str | None, app: str | None) -> AsyncGenerator[Crowd]:
            yield there

        monkeypatch.setattr(_bulk, "operating", operating)
        return there

    return of


def confirmed(*_: object, **__: object) -> bool:
    return True


def drop(_: str) -> None:
    """Print nothing."""


@pytest.mark.parametrize("yes", [True, False])
def test_memory_does_not_grow_with_the_number(
    yes: bool,  # noqa: FBT001 - pytest gives it by name
    crowd: Callable[[int], Crowd],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = crowd(MANY)
    monkeypatch.setattr("click.confirm", confirmed)
    monkeypatch.setattr(_bulk, "line", drop)  # pytest keeps what is printed

    tracemalloc.start()
    try:
        asyncio.run(act_on(Action("cancel", (Status.WAITING,), there.act), Request(**OPTIONS, yes=yes)))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert MANY == there.acted
    assert most < 2_000_000, f"{most:,} bytes for {MANY:,} instances of some 700 bytes each"
    said = capsys.readouterr().err.splitlines()
    assert f"{MANY}{'' if yes else f' of {MANY}'} so far" == said[-1]
    assert MANY // 1000 == len(said)


def test_an_outage_says_how_many_were_acted_on(
    crowd: Callable[[int], Crowd], capsys: pytest.CaptureFixture[str]
) -> None:
    there = crowd(100)

    async def act(_of: object, instance_id: str, _found: Instance | None) -> bool:
        if instance_id == "instance-45":
            raise StorageUnavailableError("the server has gone")
        return await there.act(_of, instance_id, _found)

    with pytest.raises(StorageUnavailableError):
        asyncio.run(act_on(Action("cancel", (Status.WAITING,), act), Request(**OPTIONS, yes=True)))

    printed = capsys.readouterr()
    assert "cancel stopped after 59 instances; run the command again to continue" in printed.err
    assert 59 == len(printed.out.splitlines())
