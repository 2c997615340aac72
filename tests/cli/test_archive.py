"""`romancy archive show` prints what was removed, and what codecs have sealed stays sealed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from romancy import Retention, Romancy, WorkflowContext, workflow
from romancy.retaining import keeping
from romancy_conformance.behaviour.coded import Masking
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from pathlib import Path


@workflow
async def remembers(ctx: WorkflowContext, word: str) -> str:
    return word


async def removed(folder: Path, codecs: list[Masking]) -> None:
    """Let an instance end, and the worker of the app write it to the archive and remove it."""
    said = Retention(completed=0, archive=folder)
    async with Romancy("memory://", workflows=[remembers], retention=said, codecs=codecs) as app:
        await (await app.start(remembers.options(instance_id="r-1"), "heliotrope")).result(timeout=30)
        while await app.get_instance("r-1") is not None:  # noqa: ASYNC110 - it goes without any news
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("sealed", [False, True])
def test_what_was_removed_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, sealed: bool
) -> None:
    for name in ("_FIRST", "_SOON", "_MOST_OFTEN"):
        monkeypatch.setattr(keeping, name, 0.01)
    asyncio.run(removed(tmp_path, [Masking()] if sealed else []))
    romancy = runner(capsys)

    shown = romancy("archive", "show", "r-1", "--from", str(tmp_path))
    whole = romancy("archive", "show", "r-1", "--from", str(tmp_path), "--json")
    nobody = romancy("archive", "show", "r-2", "--from", str(tmp_path))

    assert (0, 0, 3) == (shown.code, whole.code, nobody.code)
    assert nobody.err == f"romancy: the archive {tmp_path} has no instance 'r-2'\n"
    assert ("WorkflowCompleted" in shown.out, "(sealed)" in shown.out) == (not sealed, sealed)
    record = msgspec.json.decode(whole.out)
    assert ("remembers", "completed") == (record["workflow"], record["status"])
