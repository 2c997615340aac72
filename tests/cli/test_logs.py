"""`romancy logs` prints what was kept, follows to the end, and says when nothing fits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy_conformance.behaviour.logging_flows import chatty, retries
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from pathlib import Path


@workflow
async def coloured(ctx: WorkflowContext) -> None:
    ctx.log.info("\x1b[31mred\x07 and a NUL \0")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("logs")
    url = f"sqlite:///{folder / 'lines.db'}"

    async def fill() -> None:
        async with Romancy(url, workflows=[chatty, retries, coloured], keep_logs="INFO") as app:
            await (await app.start(chatty.options(instance_id="c"), 3)).result(timeout=30)
            await (await app.start(retries.options(instance_id="r"))).result(timeout=30)
            await (await app.start(coloured.options(instance_id="red"))).result(timeout=30)

    asyncio.run(fill())
    return url


def test_lines_are_printed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    romancy = runner(capsys)
    said = romancy("logs", "c", "--url", url)
    assert (0, ["INFO     body: line 0", "INFO     body: line 1", "INFO     body: line 2"]) == (
        said.code, [line.partition(" ")[2] for line in said.out.splitlines()],
    )  # fmt: skip

    failed = romancy("logs", "r", "--level", "WARNING", "--url", url).out.splitlines()
    assert failed[0].endswith("ERROR    fails_once:1: attempt 1 fails")
    assert "    ValueError: no card" == failed[-1]
    of_one = romancy("logs", "r", "--activity", "fails_once", "--level", "ERROR", "--json", "--url", url)
    assert 1 == len(of_one.out.splitlines())
    assert "" == romancy("logs", "r", "--activity", "other", "--url", url).out


def test_a_follower_ends_with_the_instance_and_goes_on_behind_a_cursor(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    romancy = runner(capsys)
    lines = [msgspec.json.decode(one) for one in romancy("logs", "c", "-f", "--json", "--url", url).out.splitlines()]
    assert ["line 0", "line 1", "line 2"] == [one["message"] for one in lines]

    behind = romancy("logs", "c", "--after", lines[1]["cursor"], "--url", url)
    assert 1 == len(behind.out.splitlines())
    assert "no line fits" in romancy("logs", "c", "--after", lines[2]["cursor"], "--url", url).err


def test_a_terminal_sees_no_control_characters(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = runner(capsys)("logs", "red", "--url", url).out

    assert "red" in printed
    assert not {"\x1b", "\x07", "\0"} & {*printed}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nobody",), "there is no instance 'nobody'"),
        (("c", "--after", "x"), "the cursor is malformed"),
        (("c", "--level", "LOUD"), "a level is the name of one"),
    ],
)
def test_mistakes(url: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    said = runner(capsys)("logs", *arguments, "--url", url)

    assert said.code != 0
    assert message in said.err
