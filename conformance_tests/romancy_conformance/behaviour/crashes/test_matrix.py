"""Workers killed at their writes: nothing is lost, nothing done twice, nothing left undone. The figures are printed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections import Counter

import pytest

from romancy_conformance.behaviour.crashes.__main__ import SHORT, TAKEN_OVER, turn_of
from romancy_conformance.behaviour.crashes.transactional import TRANSACTIONAL
from romancy_conformance.process_control import forks

pytestmark = [pytest.mark.anyio, forks]

MODULE = "romancy_conformance.behaviour.crashes"
DATABASES = ("sqlite", "postgres", "mysql", "mariadb")


def least_kills(names: list[str]) -> int:
    """Return three for each workflow, nine for each that is taken over, and three at deliveries."""
    return 3 * len(names) + 9 * len(set(names) & set(TAKEN_OVER)) + 3


def test_the_workflows_take_turns() -> None:
    turns = [*map(turn_of, DATABASES)]

    assert {*Counter(name for names in turns for name in names).values()} == {2}
    assert {name for names in turns for name in names} == {*SHORT} >= TRANSACTIONAL.keys()
    assert all({*TAKEN_OVER}.intersection(names) and TRANSACTIONAL.keys() & names for names in turns)
    assert turn_of("another") == [*SHORT]


async def play(url: str, *options: str) -> tuple[int, str]:
    """Play the matrix in its own process, which has its own registry of the family's names."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        MODULE,
        url,
        *options,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, said.decode()


def kills_in(said: str) -> int:
    """Return how many workers died, from the last line."""
    found = re.search(r"(\d+) kills", said.splitlines()[-1])
    assert found is not None
    return int(found[1])


@pytest.mark.timeout(900)
async def test_some_workflows_killed_here_and_there(
    backend: str, shared_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = turn_of(backend)

    status, said = await play(shared_url, "--only", *names)

    assert (0, True) == (status, "lost 0, duplicated 0, stuck 0" in said), said
    assert kills_in(said) >= least_kills(names)
    with capsys.disabled():
        print(f"\n{shared_url.partition(':')[0]}: {said.strip()}")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not os.environ.get("ROMANCY_SOAK"), reason="the full matrix takes long: make soak")
async def test_every_workflow_killed_at_every_commit(shared_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = await play(shared_url, "--full")

    assert (0, True) == (status, "lost 0, duplicated 0, stuck 0" in said), said
    with capsys.disabled():
        print(f"\n{shared_url.partition(':')[0]}: {said.strip()}")
