"""A worker of the command line takes the workflows and the number of activities that it is told to."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.cli.in_process import migrate

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SHOP: Final = """
import asyncio

from romancy import Romancy, WorkflowContext, activity, workflow

at_once = most = 0

@activity
async def pack(number: int) -> int:
    global at_once, most
    at_once += 1
    most = max(most, at_once)
    for _ in range(20):
        await asyncio.sleep(0)
    at_once -= 1
    return most

@workflow
async def ship(ctx: WorkflowContext) -> int:
    return max(await asyncio.gather(*map(pack, range(9))))

@workflow
async def order(ctx: WorkflowContext) -> int:
    return await ship()

app = Romancy("sqlite:///shop.db", worker=False)
"""
ROMANCY: Final = (sys.executable, "-m", "romancy")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the shop and its tables."""
    (tmp_path / "shop.py").write_text(SHOP)
    migrate(f"sqlite:///{tmp_path}/shop.db")
    return tmp_path


@contextmanager
def at_work(folder: Path, *options: str) -> Generator[None]:
    """A worker of the shop, from the line that says it is at work."""
    arguments = [*ROMANCY, "run", "shop:app", "--drain", "0s", *options]
    with subprocess.Popen(arguments, cwd=folder, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        try:
            assert next(line for line in worker.stderr if "worker runs" in line)
            yield
        finally:
            worker.terminate()


def asked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ROMANCY, *arguments], cwd=folder, check=False, capture_output=True, text=True, timeout=60)


def child_of(folder: Path) -> dict[str, str]:
    """Wait until the order has started its child, and return what a list says of it."""
    while True:
        listed = asked(folder, "list", "--url", f"sqlite:///{folder}/shop.db", "--workflow", "ship", "--json")
        if listed.stdout or listed.returncode:
            return dict[str, str](json.loads(listed.stdout))


def test_a_worker_takes_what_it_is_told_to(shop: Path) -> None:
    """The parent waits for its child, which another worker takes."""
    asked(shop, "start", "shop:app", "order", "--id", "one")
    with at_work(shop, "--only", "order"):
        child = child_of(shop)
        with at_work(shop, "--only", "ship, ", "--activities", "2"):
            told = asked(shop, "start", "shop:app", "order", "--id", "one", "--wait")

    assert child["status"] == "pending"
    assert (0, "2") == (told.returncode, told.stdout.splitlines()[-1]), told.stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("shp", "this app knows no workflow 'shp'; did you mean 'ship'? It knows order, ship"),
        (",", "a list without names"),
    ],
)
def test_a_name_that_is_not_known(shop: Path, option: str, said: str) -> None:
    told = asked(shop, "run", "shop:app", "--only", option)

    assert told.returncode != 0
    assert said in told.stderr
    assert "Traceback" not in told.stderr
