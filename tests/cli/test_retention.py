"""`romancy retention` tells and changes what goes by default, and an import says what that does to a history."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from romancy import Romancy, WorkflowContext, workflow
from tests.cli.in_process import migrate, runner

if TYPE_CHECKING:
    from pathlib import Path

GOES: Final = "ended instances go by default: completed after 30d, failed after 90d, cancelled after 90d\n"
STAYS: Final = "ended instances stay, unless retention= says otherwise\n"


@workflow
async def moved_for_retention(ctx: WorkflowContext) -> int:
    return 1


importer = Romancy("memory://", workflows=[moved_for_retention])


async def exported(url: str, file: Path, *, ends: bool) -> None:
    async with Romancy(url, workflows=[moved_for_retention]) as app:
        one = await app.start(moved_for_retention.options(delay=None if ends else 3600))
        if ends:
            assert await one.result(timeout=30) == 1
    async with Romancy(url, workflows=[moved_for_retention], worker=False) as app:
        await app.export_instances(file)


def test_it_is_told_and_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/app.db"
    migrate(url)
    romancy = runner(capsys)

    assert romancy("retention", "--url", url) == (0, GOES, "")
    for _ in range(2):
        assert romancy("retention", "--url", url, "--off") == (0, STAYS, "")
    assert msgspec.json.decode(romancy("retention", "--url", url, "--json").out) == {
        "by_default": False, "completed": "30d", "failed": "90d", "cancelled": "90d",
    }  # fmt: skip
    assert romancy("retention", "--url", url, "--on") == (0, GOES, "")


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("goes", [True, False])
def test_an_import_says_what_would_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, goes: bool, ends: bool
) -> None:
    file, url = tmp_path / "all.jsonl", f"sqlite:///{tmp_path}/new.db"
    asyncio.run(exported(f"sqlite:///{tmp_path}/old.db", file, ends=ends))
    migrate(url)
    romancy = runner(capsys)
    romancy("retention", "--url", url, "--on" if goes else "--off")

    for dry in (("--dry-run",), ()):
        said = romancy("import", str(file), "--url", url, "--app", f"{__name__}:importer", *dry)
        assert (said.code, "romancy retention --off" in said.err) == (0, goes and ends), said.err
