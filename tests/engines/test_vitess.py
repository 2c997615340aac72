"""A keyspace of Vitess with one shard: a part of the suites, what is refused, and what is killed under load.

All of the suites: `make test-vitess`.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.faults.field import Field
from romancy_conformance.servers import Kind, ServerUnavailableError, private_server
from romancy_conformance.servers.plugin import do_without
from romancy_conformance.servers.vitess import PARTED, WHOLE, VitessServer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1200)]

COUNT, STEPS, WORKERS = 60, 3, 4
ROOT: Final = Path(__file__).resolve().parents[2]
CONTRACT: Final = ROOT / "conformance_tests/romancy_conformance/contract"
MODULES: Final = (
    "fence", "carried", "batches", "inbox", "claims", "leases", "log", "outbox", "sessions", "ended_sessions", "mail",
    "prune", "isolated_sessions", "held_rows",
)  # fmt: skip
_PASSED: Final = re.compile(r"^vitess: .*: (\d+) tests$", re.MULTILINE)
FEWEST: Final = 250


@pytest.fixture(scope="module")
def built() -> Generator[VitessServer]:
    """A Vitess that was built here, not started."""
    try:
        made = private_server(Kind.VITESS)
    except ServerUnavailableError as error:
        do_without(Kind.VITESS, error)
    assert isinstance(made, VitessServer)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(built: VitessServer) -> VitessServer:
    try:
        built.start()
    except ServerUnavailableError as error:
        do_without(Kind.VITESS, error)
    return built


@asynccontextmanager
async def opened(server: VitessServer, folder: Path) -> AsyncGenerator[Field]:
    field = Field(await asyncio.to_thread(server.fresh_database), folder)
    await field.open()
    try:
        yield field
    finally:
        await field.close()


async def refused(url: str) -> str:
    with pytest.raises(StorageConfigurationError) as caught:
        await create_store(url).open()
    return str(caught.value)


async def test_what_is_spread_or_lags_is_refused_by_name(server: VitessServer) -> None:
    assert f"the keyspace '{PARTED}' is sharded ({PARTED}/-80, {PARTED}/80-)" in await refused(server.url(PARTED))
    for target in (f"{WHOLE}@replica", f"{PARTED}:-80"):
        assert f"{target!r} is a target of Vitess" in await refused(server.url(target).replace("%40", "@"))


async def test_a_gate_that_sets_nothing_is_refused_by_name(server: VitessServer) -> None:
    """It answers that it did."""
    server.kill_gate()
    server.gate_options = {"enable_system_settings": "false"}
    try:
        await asyncio.to_thread(server.start_gate)
        assert "start vtgate with --enable_system_settings" in await refused(server.url(WHOLE))
    finally:
        server.kill_gate()
        server.gate_options = {}
        await asyncio.to_thread(server.start_gate)


async def test_workers_are_killed_under_load(server: VitessServer, tmp_path: Path) -> None:
    async with opened(server, tmp_path) as field:
        workers = [await field.worker("--lease", "6") for _ in range(WORKERS)]
        ids = [f"workers-{number}" for number in range(COUNT)]
        await field.start(ids, STEPS, 0.1)
        for number, worker in enumerate(workers):
            await field.begun((number + 1) * COUNT * STEPS // (2 * WORKERS))
            worker.send(signal.SIGKILL)
            await field.worker("--lease", "6")
        await field.all_ended(600)

        print(f"\nattempts in vain: {await field.check(ids, STEPS, interrupted=COUNT * WORKERS)}")


@pytest.mark.parametrize("what", ["gate and tablets", "MySQL"])
async def test_a_part_of_the_server_is_killed_under_load(server: VitessServer, what: str, tmp_path: Path) -> None:
    async with opened(server, tmp_path) as field:
        workers = [await field.worker("--lease", "60") for _ in range(WORKERS)]
        ids = [f"{what[0]}-{number}" for number in range(COUNT)]
        await field.start(ids, STEPS, 0.1)
        await field.begun(COUNT * STEPS // 2)
        if what == "MySQL":
            await asyncio.to_thread(server.kill_mysql)
            await asyncio.to_thread(server.start_mysql)
        else:
            server.kill_gate()
            await asyncio.to_thread(server.start_gate)
        await field.all_ended(600)

        assert all(worker.alive for worker in workers)
        print(f"\nattempts in vain: {await field.check(ids, STEPS, interrupted=COUNT * STEPS)}")


@pytest.mark.usefixtures("built")
def test_a_part_of_the_suites_is_green() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--tier", "all"]
    ended = subprocess.run(
        [*command, *(str(CONTRACT / f"test_{name}.py") for name in MODULES), "tests/backends/mysql/test_vitess.py"],
        cwd=ROOT,
        env=os.environ | {"ROMANCY_TEST_BACKENDS": "vitess"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-8000:]
    found = _PASSED.search(ended.stdout)
    assert found is not None, ended.stdout[-2000:]
    assert int(found[1]) >= FEWEST
