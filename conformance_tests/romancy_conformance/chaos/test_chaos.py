"""A round of random programs under killed and frozen workers: every outcome and every effect is as it has to be.

A round ends when all instances have ended, or when nothing has made progress for minutes. So no test fails because the
machine is slow.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

SOAK = bool(os.environ.get("ROMANCY_SOAK"))
LEFT_OUT = "crowd,freeze-long,long"
"""Features that take too long here."""


@pytest.fixture
def anyio_backend() -> str:
    """Apps run on asyncio."""
    return "asyncio"


@pytest.mark.soak
@pytest.mark.timeout(1800 if SOAK else 600)
async def test_a_round(shared_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ("--programs", "200", "--seconds", "120") if SOAK else ("--programs", "12", "--seconds", "4", "--kills", "4")
    options = ("--with", "retry,retries,recalled,child_late", "--instances", "0", *size)
    await _play(shared_url, tmp_path / "kept", capsys, *options)


@pytest.mark.soak
@pytest.mark.timeout(1800 if SOAK else 600)
async def test_a_round_of_shapes(shared_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ("--instances", "2400", "--seconds", "120") if SOAK else ("--instances", "48", "--seconds", "3")
    await _play(shared_url, tmp_path / "kept", capsys, "--programs", "0", *size)


async def _play(url: str, kept: Path, capsys: pytest.CaptureFixture[str], *options: str) -> None:
    always = ("--seed", "little", "--rounds", "1", "--workers", "2", "--lease", "10", "--patience", "300")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "romancy_conformance.chaos", "--url", url, "--keep", str(kept)),
        *("--without", LEFT_OUT, *always, *options),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()

    assert 0 == process.returncode, said
    with capsys.disabled():
        print(f"\n{said.strip()}")
