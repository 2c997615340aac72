"""The command, as a user types it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.servers import Kind
from romancy_conformance.servers.access import access_by_url
from romancy_conformance.servers.processes import Process
from romancy_conformance.servers.run import RUN_VARIABLE
from romancy_conformance.stores import chosen_backends

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = [kind for kind in Kind if kind in chosen_backends() and kind.url_variable not in os.environ]
COMMAND = [sys.executable, "-m", "romancy_conformance.servers"]


@pytest.mark.skipif(not KINDS, reason="this run is for no private server")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_prints_urls_that_work_until_it_is_interrupted(number: signal.Signals) -> None:
    kind = KINDS[-1]
    alone = {name: value for name, value in os.environ.items() if name != RUN_VARIABLE}
    with subprocess.Popen([*COMMAND, "up", kind], stdout=subprocess.PIPE, text=True, env=alone) as up:
        assert up.stdout is not None
        assert up.stdout.readline().startswith("# ")
        said = re.fullmatch(rf"export {kind.url_variable}='(.+)'\n", up.stdout.readline())
        assert said is not None
        assert access_by_url(kind, said[1]).fetch("SELECT 3") == 3

        up.send_signal(number)

        assert up.wait(30) == 0


def test_status_and_clean_tell_what_is_there_and_spare_the_living() -> None:
    run = os.environ.get(RUN_VARIABLE)

    subprocess.run([*COMMAND, "clean"], check=True, capture_output=True)
    said = subprocess.run([*COMMAND, "status"], check=True, capture_output=True, text=True).stdout

    assert run is None or f"{run}: in use" in said
    assert "left over" not in said


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the servers' account can reach; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def in_cache(cache: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "ROMANCY_CACHE": str(cache), **environment}
    return subprocess.run([*COMMAND, *arguments], check=False, capture_output=True, text=True, env=settings)


def test_the_cache_is_named_with_its_size(open_folder: Path) -> None:
    (open_folder / "thing").write_bytes(b"x" * 150_000_000)

    said = in_cache(open_folder, "cache").stdout

    assert said == f"{open_folder}: 0.2 GB, shared by all checkouts; `make clean-cache` removes it\n"
    assert in_cache(open_folder / "none", "cache").stdout == ""


def test_the_cache_is_cleaned_unless_a_run_uses_it(open_folder: Path) -> None:
    temporary, cache = open_folder / "tmp", open_folder / "cache"
    for folder in (temporary, cache):
        folder.mkdir()
        folder.chmod(0o755)
    run = temporary / f"romancy-servers-{os.geteuid()}" / str(Process.current())
    run.mkdir(parents=True)

    refused = in_cache(cache, "clean", "--cache", TMPDIR=str(temporary))
    run.rmdir()
    done = in_cache(cache, "clean", "--cache", TMPDIR=str(temporary))

    assert (1, f"error: the cache is in use by {run}: clean it when that run has ended\n") == (
        refused.returncode,
        refused.stderr,
    )
    assert f"{cache}: removed\n" == done.stdout
    assert not cache.exists()


def test_a_kind_nobody_knows_is_refused() -> None:
    done = subprocess.run([*COMMAND, "up", "oracle"], check=False, capture_output=True, text=True)

    assert done.returncode == 2
    assert "'oracle' is not a valid Kind" in done.stderr
