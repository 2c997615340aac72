"""What a command says of `memory://`, of a database without tables, and of an extra that is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.in_process import Answer, runner

if TYPE_CHECKING:
    from collections.abc import Callable

APP = """
from romancy import Romancy, WorkflowContext, workflow

@workflow
async def one(ctx: WorkflowContext) -> None: ...

app = Romancy("{url}", workflows=[one])
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    return runner(capsys)


@pytest.mark.parametrize(
    "typed",
    [
        "list --url",
        "show x --url",
        "why x --url",
        "doctor --url",
        "migrate --url",
        "outbox --url",
        "workers --url",
        "ui",
    ],
)
@pytest.mark.parametrize("url", ["memory://", "memory://shop"])
def test_a_command_on_memory_is_refused(run: Callable[..., Answer], typed: str, url: str) -> None:
    answer = run(*typed.split(), url)
    assert answer.code == 2
    assert "memory:// is private to a process" in answer.err
    assert "romancy dev MODULE:APP" in answer.err


@pytest.mark.parametrize("typed", ["start shop one", "check shop", "ui shop", "list --app shop"])
def test_a_command_on_an_app_in_memory_is_refused(tmp_path: Path, typed: str) -> None:
    (tmp_path / "shop.py").write_text(APP.format(url="memory://"))
    done = subprocess.run(
        [sys.executable, "-m", "romancy", *typed.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "memory:// is private to a process" in done.stderr


def test_a_worker_in_memory_says_that_nobody_can_reach_it(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP.format(url="memory://"))
    with subprocess.Popen(
        [sys.executable, "-m", "romancy", "run", "shop", "--quiet"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stderr is not None
        lines = [worker.stderr.readline() for _ in range(2)]
        worker.terminate()
    assert any("memory:// is private to a process" in line for line in lines)


def test_dev_without_its_extra_ends_with_the_line_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP.format(url="sqlite:///dev.db"))
    program = "import sys; sys.modules['uvicorn'] = None; from romancy.cli import main; main(['dev', 'shop'])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().endswith("dev needs uvicorn; install the extra: pip install 'romancy[ui]'")


@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")
def test_a_database_without_tables_is_told_apart_from_an_old_one(run: Callable[..., Answer], empty_url: str) -> None:
    if empty_url.startswith("sqlite:"):
        Path(empty_url.removeprefix("sqlite:///").partition("?")[0]).touch()
    answer = run("list", "--url", empty_url)
    assert answer.code == 5
    assert "it has no tables of Romancy yet; `romancy migrate`, or opening an app, makes them" in answer.err
