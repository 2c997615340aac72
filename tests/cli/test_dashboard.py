"""The command that shows a database in the browser: for whom it listens, and what it prints."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import httpx2
import pytest
from click.testing import CliRunner

from romancy import Romancy, WorkflowContext, workflow
from romancy.cli import cli
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from pathlib import Path

SHOP: Final = """
from romancy import Romancy, workflow
from romancy.dashboard import anyone, asgi

@workflow
async def place_order(ctx, item: str) -> str:
    return item

app = Romancy("sqlite:///shop.db", workflows=[place_order])
mine = asgi(app, auth="local")
guarded = asgi(app, auth=anyone)
"""


@workflow
async def place_order(ctx: WorkflowContext, item: str) -> str:
    return item


async def _fill(url: str) -> None:
    async with Romancy(url, workflows=[place_order]) as app:
        await app.run(place_order.options(instance_id="o-1"), "lamp")


@pytest.mark.long
@pytest.mark.parametrize("target", ["sqlite:///shop.db", "shop:app", "shop:mine"])
def test_the_printed_link_opens_the_dashboard_once(tmp_path: Path, target: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    asyncio.run(_fill(f"sqlite:///{tmp_path}/shop.db"))
    command = [sys.executable, "-m", "romancy", "ui", target, "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            link = server.stdout.readline().strip()
            base = link.partition("?")[0]
            with httpx2.Client(timeout=30) as mine:
                before, entered, page = mine.get(base), mine.get(link), mine.get(f"{base}instances/o-1")
            with httpx2.Client(timeout=30) as other:
                again = other.get(link)
            server.send_signal(signal.SIGTERM)
            assert 0 == server.wait(30)
        finally:
            server.kill()

    assert [401, 200, 200, 401] == [each.status_code for each in (before, entered, page, again)]
    assert "o-1" in page.text
    assert "place_order" in page.text


@pytest.mark.parametrize("target", ["sqlite:///shop.db", "shop:app", "shop:mine"])
def test_it_does_not_listen_elsewhere_for_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "shop", raising=False)

    refused = CliRunner().invoke(cli, ["ui", target, "--host", "0.0.0.0", "--port", "0"])  # noqa: S104 - refused

    assert 2 == refused.exit_code
    assert "can be reached from other machines" in refused.output
    monkeypatch.delitem(sys.modules, "shop", raising=False)


def test_a_database_that_is_not_there_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = runner(capsys)("ui", f"sqlite:///{tmp_path}/none.db", "--port", "0")

    assert 5 == answer.code
    assert "token" not in answer.out
    assert not (tmp_path / "none.db").exists()
