"""`romancy tail` prints a stream, and says which there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from romancy import Romancy
from romancy_conformance.behaviour.streaming import tries
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_prints_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url, romancy = f"sqlite:///{tmp_path}/tail.db", runner(capsys)

    async def write() -> None:
        async with Romancy(url, workflows=[tries]) as app:
            await (await app.start(tries.options(instance_id="t"))).result(timeout=30)

    asyncio.run(write())
    said = romancy("tail", "t", "--url", url)
    assert "attempt 1\nattempt 2\nthread 0thread 1thread 2\nof a step\n" == said.out
    assert "what fails_once:1 wrote does not count" in said.err
    assert "attempt 2thread 0thread 1thread 2of a step" == romancy("tail", "t", "tokens", "--settled", "--url", url).out
    items = [msgspec.json.decode(line) for line in romancy("tail", "t", "--json", "--url", url).out.splitlines()]
    assert ("data", "attempt 1", "fails_once:1") == (items[0]["kind"], items[0]["data"], items[0]["source"])
    behind = romancy("tail", "t", "--json", "--after", items[-2]["offset"], "--url", url).out.splitlines()
    assert items[-1:] == [msgspec.json.decode(line) for line in behind]
    mistyped = romancy("tail", "t", "tokns", "--url", url)
    assert "" == mistyped.out.strip()
    assert "instance t has ended without a stream tokns: it has tokens" in mistyped.err
