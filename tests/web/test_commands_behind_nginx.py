"""The commands that serve, as processes behind a real nginx that adds nothing: a stranger gets nothing from them."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy_conformance.servers.arrangements import ARRANGEMENTS
from romancy_conformance.servers.kinds import ServerUnavailableError
from romancy_conformance.servers.plugin import do_without
from romancy_conformance.servers.web_proxies import Upstream, WebProxy
from tests.web.strangers import Answered, Asked, ask, tries

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.long

PLAIN: Final = ARRANGEMENTS[0]
REFUSED: Final = {400, 401, 403, 404}
SHOP: Final = """
from romancy import Romancy, workflow

@workflow(name="proxied_order")
async def order(ctx) -> None:
    await ctx.wait_event("paid")

app = Romancy("sqlite:///shop.db", workflows=[order])
"""


@workflow(name="proxied_order")
async def order(ctx: WorkflowContext) -> None:
    await ctx.wait_event("paid")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app, and its database with one open instance."""

    async def fill() -> None:
        async with Romancy(f"sqlite:///{tmp_path}/shop.db", workflows=[order], worker=False) as app:
            await app.start(order.options(instance_id="o-1"))

    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    asyncio.run(fill())
    return tmp_path


@contextmanager
def behind_nginx(folder: Path, *command: str) -> Generator[tuple[WebProxy, str, str]]:
    """Run a command that serves, with nginx before it: the proxy, where the command serves, and the printed line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "romancy", *command, "--port", "0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if "http://127.0.0.1:" in line)
            upstream = Upstream(int(re.findall(r":(\d+)", line)[0]))
            try:
                proxy = WebProxy(PLAIN, upstream)
                proxy.start()
            except ServerUnavailableError as error:
                do_without(PLAIN.program, error)
            with closing(proxy):
                yield proxy, str(upstream), line
        finally:
            process.kill()


def got_in(proxy: WebProxy, kind: str, upstream: str) -> list[tuple[Asked, Answered]]:
    answers = [(asked, ask(proxy.connect(), asked)) for asked in tries("", kind, upstream)]
    assert len(answers) > 20
    return [one for one in answers if one[1].status not in REFUSED or "proxied_order" in one[1].text]


@pytest.mark.parametrize(
    "command", [("ui", "sqlite:///shop.db"), ("ui", "shop:app"), ("dev", "shop:app")], ids=" ".join
)
def test_the_dashboard_of_a_command_needs_its_link(folder: Path, command: tuple[str, ...]) -> None:
    with behind_nginx(folder, *command) as (proxy, upstream, line):
        assert [] == got_in(proxy, "dashboard", upstream)
        token = re.findall(r"\?token=(\S+)", line)[0]
        entered = ask(proxy.connect(), Asked("GET", f"/?token={token}", "1.1", {"host": upstream}))
        session = {"host": upstream, "cookie": "; ".join(entered.cookies)}

        assert 200 == entered.status
        assert "proxied_order" in ask(proxy.connect(), Asked("GET", "/instances", "1.1", session)).text


def test_an_app_is_served_to_this_machine(folder: Path) -> None:
    with behind_nginx(folder, "serve", "shop:app") as (proxy, upstream, _):
        assert [] == got_in(proxy, "http", upstream)
