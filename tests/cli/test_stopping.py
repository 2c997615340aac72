"""How to stop a worker of the command line."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from tests.cli.working import BUSY, at_work, said, started

if TYPE_CHECKING:
    from pathlib import Path

IDLE: Final = 'from romancy import Romancy\n\napp = Romancy("sqlite:///idle.db")\n'


def test_a_second_ctrl_c_ends_a_worker_that_drains_at_once(tmp_path: Path) -> None:
    with at_work(tmp_path, BUSY, "--drain", "1h") as worker:
        worker.send_signal(signal.SIGINT)
        told = said(worker, "a second Ctrl-C")
        worker.send_signal(signal.SIGINT)
        code = worker.wait(60)

    assert "3600 s to end" in told
    assert -signal.SIGINT == code


def test_a_worker_that_knows_no_workflow_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text(IDLE)

    with started(tmp_path, "idle") as worker:
        advice = said(worker, "knows no workflow")
        worker.send_signal(signal.SIGTERM)
        said(worker, "worker has stopped")
        code = worker.wait(60)

    assert "@workflow" in advice
    assert 0 == code


def test_an_app_without_a_worker_gets_one(tmp_path: Path) -> None:
    """The web process opens the app with `worker=False`, and `romancy run` names the same app."""
    without = BUSY.replace("workflows=[staying]", "workflows=[staying], worker=False")

    with at_work(tmp_path, without, "--drain", "0s") as worker:
        worker.send_signal(signal.SIGTERM)
        code = worker.wait(60)

    assert 0 == code
